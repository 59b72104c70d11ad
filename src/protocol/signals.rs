//! What the terminal and the service manager say to the process.

use super::{End, How, log};

/// SIGINT reaches every process of a terminal's foreground group, so it says nothing to a plugin:
/// the core answers it, by StopProvider. A provider that was started by hand ends by it. SIGTERM
/// ends the process as soon as the calls under way have brought home their state.
///
/// # Errors
/// When the system takes no handler.
#[cfg(unix)]
pub(super) fn watch(how: How, end: &End) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let end = end.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {
                    if how == How::Debug {
                        end.now();
                    }
                    log::write(log::Module::Sdk, log::Level::Debug, "got SIGINT", &[]);
                }
                _ = terminate.recv() => {
                    log::write(log::Module::Sdk, log::Level::Info, "got SIGTERM; ending", &[]);
                    end.soon();
                }
            }
        }
    });
    Ok(())
}

/// Ctrl-C reaches every process of a console, so it says nothing to a plugin: the core answers it,
/// by StopProvider. A provider that was started by hand ends by it.
///
/// # Errors
/// When the system takes no handler.
#[cfg(windows)]
pub(super) fn watch(how: How, end: &End) -> std::io::Result<()> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    let end = end.clone();
    tokio::spawn(async move {
        while interrupt.recv().await.is_some() {
            if how == How::Debug {
                end.now();
            }
            log::write(log::Module::Sdk, log::Level::Debug, "got Ctrl-C", &[]);
        }
    });
    Ok(())
}
