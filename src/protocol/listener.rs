//! Where the core connects: a socket in a directory that only we can enter, or, where there are no
//! unix sockets, TCP on 127.0.0.1 within the ports that the core allows. A connection that is not
//! the core's ends alone.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{self, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::Connected;

use super::{End, log, variable};

/// Bound and listening.
pub(super) struct Listener {
    socket: Socket,
    address: String,
    /// Removes the socket when dropped. Whoever serves keeps it: a task's things may outlive the
    /// runtime.
    pub(super) directory: Option<PrivateDirectory>,
}

#[cfg(unix)]
type Socket = tokio::net::UnixListener;
#[cfg(not(unix))]
type Socket = tokio::net::TcpListener;

impl Listener {
    /// # Errors
    /// When no directory could be made, or no address was free.
    #[cfg(unix)]
    pub(super) async fn bind() -> io::Result<Self> {
        let parent = variable("PLUGIN_UNIX_SOCKET_DIR").filter(|directory| !directory.is_empty());
        let directory = PrivateDirectory::under(parent.map(PathBuf::from))?;
        let path = directory.0.join(SOCKET_NAME);
        let address = path
            .to_str()
            .ok_or_else(|| io::Error::other("the path of the socket is not UTF-8"))?;
        Ok(Self {
            socket: Socket::bind(&path)?,
            address: address.to_owned(),
            directory: Some(directory),
        })
    }

    /// # Errors
    /// When no port was free.
    #[cfg(not(unix))]
    pub(super) async fn bind() -> io::Result<Self> {
        let port = |name, default: u16| {
            variable(name)
                .and_then(|port| port.parse().ok())
                .unwrap_or(default)
        };
        let mut last = io::Error::other("PLUGIN_MIN_PORT is above PLUGIN_MAX_PORT");
        for port in port("PLUGIN_MIN_PORT", 10_000)..=port("PLUGIN_MAX_PORT", 25_000) {
            match Socket::bind((std::net::Ipv4Addr::LOCALHOST, port)).await {
                Ok(socket) => {
                    let address = socket.local_addr()?.to_string();
                    return Ok(Self {
                        socket,
                        address,
                        directory: None,
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The word of the handshake line.
    pub(super) fn network(&self) -> &'static str {
        if cfg!(unix) { "unix" } else { "tcp" }
    }

    /// A path, or host and port.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Those that got through the door. With a pinned certificate, the process ends when the core
    /// that held it is gone: nobody else could ever come, and nobody would ever say Shutdown.
    pub(super) fn connections(
        self,
        acceptor: Option<TlsAcceptor>,
        end: &End,
    ) -> impl Stream<Item = io::Result<Connection>> + use<> {
        let (through, arrived) = mpsc::channel(1);
        let (present, presence) = watch::channel(Presence::default());
        if acceptor.is_some() {
            tokio::spawn(end_when_alone(presence, end.clone()));
        }
        tokio::spawn(self.accept(acceptor, through, present));
        stream::unfold(arrived, |mut arrived| async move {
            arrived
                .recv()
                .await
                .map(|connection| (Ok(connection), arrived))
        })
    }

    async fn accept(
        self,
        acceptor: Option<TlsAcceptor>,
        through: mpsc::Sender<Connection>,
        present: watch::Sender<Presence>,
    ) {
        while !through.is_closed() {
            let stream = tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        log::write(log::Module::Sdk, log::Level::Warn, "could not accept", &[("error", &error)]);
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
                () = through.closed() => return,
            };
            let (acceptor, through, present) = (acceptor.clone(), through.clone(), present.clone());
            // Each at its own door: one that says nothing keeps no other waiting.
            tokio::spawn(async move {
                let connection = match acceptor {
                    None => Connection {
                        stream: Box::new(stream),
                        _guest: Guest::enters(present),
                    },
                    Some(acceptor) => {
                        match tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await {
                            Ok(Ok(stream)) => Connection {
                                stream: Box::new(stream),
                                _guest: Guest::enters(present),
                            },
                            Ok(Err(error)) => {
                                let fields: [log::Field<'_>; 1] = [("error", &error)];
                                log::write(
                                    log::Module::Sdk,
                                    log::Level::Warn,
                                    "refused a connection",
                                    &fields,
                                );
                                return;
                            }
                            Err(_) => return,
                        }
                    }
                };
                // The server is gone: so is the connection.
                let _ = through.send(connection).await;
            });
        }
    }
}

async fn end_when_alone(mut presence: watch::Receiver<Presence>, end: End) {
    let mut arrivals = 0;
    let mut patience = FIRST_CONNECTION;
    loop {
        let came = presence.wait_for(|presence| presence.arrivals > arrivals);
        match tokio::time::timeout(patience, came).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return,
            Err(_) => break,
        }
        arrivals = match presence.wait_for(|presence| presence.guests == 0).await {
            Ok(presence) => presence.arrivals,
            Err(_) => return,
        };
        patience = ABSENCE;
    }
    log::write(
        log::Module::Sdk,
        log::Level::Info,
        "the core is gone; ending",
        &[],
    );
    end.soon();
}

/// Who is connected, and how often somebody came: a guest may have left before anybody looked.
#[derive(Debug, Default)]
struct Presence {
    guests: usize,
    arrivals: u64,
}

/// Counted while the connection lives.
struct Guest(watch::Sender<Presence>);

impl Guest {
    fn enters(present: watch::Sender<Presence>) -> Self {
        present.send_modify(|presence| {
            presence.guests += 1;
            presence.arrivals += 1;
        });
        Self(present)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.send_modify(|presence| presence.guests -= 1);
    }
}

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// A client's connection, in TLS or plain.
pub(super) struct Connection {
    stream: Box<dyn Bytes>,
    _guest: Guest,
}

impl Connected for Connection {
    type ConnectInfo = ();
    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A directory of mode 0700 that goes with its contents when dropped.
pub(super) struct PrivateDirectory(PathBuf);

#[cfg(unix)]
impl PrivateDirectory {
    /// Under `parent`, else under the temporary directory; under `/tmp` when that one's path is too
    /// long for a socket.
    fn under(parent: Option<PathBuf>) -> io::Result<Self> {
        if let Some(parent) = parent {
            return Self::make(&parent);
        }
        let temporary = Self::make(&std::env::temp_dir());
        match temporary {
            Err(error) if error.kind() == io::ErrorKind::InvalidFilename => {
                Self::make("/tmp".as_ref())
            }
            made => made,
        }
    }

    fn make(parent: &std::path::Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;

        let pid = std::process::id();
        let describe = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", parent.display()))
        };
        for attempt in 0..1_000 {
            let path = parent.join(format!("flatcar-{pid}-{attempt}"));
            if path.as_os_str().len() + 1 + SOCKET_NAME.len() > LONGEST_SOCKET_PATH {
                let kind = io::ErrorKind::InvalidFilename;
                return Err(describe(io::Error::new(
                    kind,
                    "the path is too long for a socket",
                )));
            }
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(describe(error)),
            }
        }
        Err(describe(io::ErrorKind::AlreadyExists.into()))
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        // Somebody else removed it: as good.
        let _ = std::fs::remove_file(self.0.join(SOCKET_NAME));
        let _ = std::fs::remove_dir(&self.0);
    }
}

const SOCKET_NAME: &str = "s";

/// macOS allows 104 bytes with the closing zero, Linux 108.
#[cfg(unix)]
const LONGEST_SOCKET_PATH: usize = 103;

/// Out of file descriptors, for one; others close theirs.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A core on a busy machine is slow, but not this slow.
const HANDSHAKE_TIME: Duration = Duration::from_secs(30);

/// A core connects as soon as it has read our line; one that was killed in between never does.
/// go-plugin itself waits a minute for a start.
const FIRST_CONNECTION: Duration = Duration::from_secs(300);

/// Between the end of a core's connection and another of the same core.
const ABSENCE: Duration = Duration::from_secs(1);

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_process_ends_once_the_core_has_left_for_good() {
        // Who comes after how long and stays how long, in milliseconds, one after the other; when
        // we end, if ever.
        type Visits = &'static [(u64, u64)];
        let cases: [(&str, Visits, Option<u64>); 5] = [
            ("nobody ever came", &[], Some(300_000)),
            ("one came and went at once", &[(5, 0)], Some(1_005)),
            ("one came and went", &[(5, 20)], Some(1_025)),
            ("one came back", &[(0, 10), (900, 10)], Some(1_920)),
            ("one is there", &[(0, 10), (900, 3_600_000)], None),
        ];
        for (name, visits, expected) in cases {
            let (present, presence) = watch::channel(Presence::default());
            let (end, began) = (End::default(), tokio::time::Instant::now());
            let alone = tokio::spawn(end_when_alone(presence, end.clone()));
            let visits = async {
                for (pause, stay) in visits {
                    tokio::time::sleep(Duration::from_millis(*pause)).await;
                    let guest = Guest::enters(present.clone());
                    if *stay > 0 {
                        tokio::time::sleep(Duration::from_millis(*stay)).await;
                    }
                    drop(guest);
                }
                std::future::pending::<()>().await;
            };
            let limit = Duration::from_secs(1_800);
            let ended = tokio::select! {
                () = visits => None,
                () = end.soon.cancelled() => Some(began.elapsed().as_millis()),
                () = tokio::time::sleep(limit) => None,
            };
            assert_eq!(ended, expected.map(u128::from), "{name}");
            assert_eq!(
                (end.cancel.is_cancelled(), end.now.is_cancelled()),
                (expected.is_some(), false),
                "{name}"
            );
            alone.abort();
        }
    }

    #[test]
    fn the_directory_is_ours_alone_and_goes_with_us() {
        let parent = tempfile::tempdir().unwrap();
        let first = PrivateDirectory::under(Some(parent.path().to_owned())).unwrap();
        let second = PrivateDirectory::under(Some(parent.path().to_owned())).unwrap();
        assert_ne!(first.0, second.0);
        for directory in [first, second] {
            let path = directory.0.clone();
            assert_eq!(
                std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o700
            );
            std::fs::write(path.join(SOCKET_NAME), "").unwrap();
            drop(directory);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_said_to_be_so() {
        let error = PrivateDirectory::under(Some(PathBuf::from("/").join("x".repeat(100))))
            .err()
            .unwrap();
        assert!(
            error
                .to_string()
                .ends_with("the path is too long for a socket"),
            "{error}"
        );
    }
}
