//! Programs that log in: `aws eks get-token`, `gke-gcloud-auth-plugin`, `kubelogin` and others.
//!
//! In: an [`Exec`] of a kubeconfig. Out: an [`ExecCredential`]'s token or certificate, and until
//! when it is good. Its output is a secret; of what it says on stderr, a line is shown where it
//! fails. See: client.authentication.k8s.io/v1.

use std::process::Stdio;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use super::endpoint::{Endpoint, Exec, Secret};
use crate::flatcar::Date;
use crate::protocol::visible::{cut, one_line};

/// What a program gave.
#[derive(Default)]
pub(super) struct Given {
    pub(super) token: Option<Secret>,
    /// Certificate and key.
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
    /// How long it is good; `None`: the program does not say.
    pub(super) good_for: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential {
    api_version: String,
    kind: String,
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    token: Option<Secret>,
    client_certificate_data: Option<Secret>,
    client_key_data: Option<Secret>,
    expiration_timestamp: Option<String>,
}

/// Runs a program.
///
/// # Errors
/// It is not there, fails, takes too long, or gives no credential.
pub(super) async fn run(exec: &Exec, endpoint: &Endpoint) -> Result<Given, String> {
    let name = shown(&exec.command);
    if !VERSIONS.contains(&exec.api_version.as_str()) {
        return Err(format!(
            "api_version of {name} has to be one of {}",
            VERSIONS.join(", ")
        ));
    }
    let mut command = Command::new(&exec.command);
    command
        .args(exec.args.iter().flatten())
        .envs(exec.env.iter().flatten())
        .env("KUBERNETES_EXEC_INFO", asked(exec, endpoint))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| {
        let hint = exec.install_hint.as_deref().map(shown).unwrap_or_default();
        match error.kind() {
            std::io::ErrorKind::NotFound => format!("{name} is not installed. {hint}"),
            _ => format!("{name} cannot be run: {error}"),
        }
    })?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let ended = async {
        let (out, err) = tokio::join!(bounded(out), bounded(err));
        (child.wait().await, out, err)
    };
    let ended = timeout(PATIENCE, ended).await;
    let (status, out, err) =
        ended.map_err(|_| format!("{name} gave nothing within {} seconds", PATIENCE.as_secs()))?;
    match status {
        Ok(status) if status.success() => given(&name, &out, &exec.api_version),
        Ok(status) => Err(format!("{name} failed ({status}): {}", said(exec, &err))),
        Err(error) => Err(format!("{name} failed: {error}")),
    }
}

/// What a program is told.
fn asked(exec: &Exec, endpoint: &Endpoint) -> String {
    let mut spec = json!({"interactive": false});
    if exec.provide_cluster_info {
        spec["cluster"] = json!({
            "server": endpoint.server,
            "insecure-skip-tls-verify": endpoint.insecure,
        });
        if let Some(roots) = &endpoint.roots {
            use base64::Engine as _;
            let roots = base64::engine::general_purpose::STANDARD.encode(roots);
            spec["cluster"]["certificate-authority-data"] = roots.into();
        }
        if let Some(name) = &endpoint.server_name {
            spec["cluster"]["tls-server-name"] = name.as_str().into();
        }
    }
    json!({"apiVersion": exec.api_version, "kind": "ExecCredential", "spec": spec}).to_string()
}

/// What a stream holds, as far as anybody reads it; the rest is let go by, so that the program
/// ends.
async fn bounded(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let Some(mut stream) = stream else {
        return Vec::new();
    };
    let mut bytes = Vec::new();
    // What breaks off is no whole answer, and is told so below.
    let _ = (&mut stream).take(MOST_BYTES).read_to_end(&mut bytes).await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    bytes
}

fn given(name: &str, out: &[u8], version: &str) -> Result<Given, String> {
    let credential: ExecCredential = serde_json::from_slice(out)
        .map_err(|_| format!("{name} gave something else than an ExecCredential"))?;
    if credential.kind != "ExecCredential" || credential.api_version != version {
        return Err(format!(
            "{name} gave something else than an ExecCredential of {version}"
        ));
    }
    let status = credential.status.unwrap_or_default();
    let identity = match (status.client_certificate_data, status.client_key_data) {
        (Some(certificate), Some(key)) => {
            let bytes = |secret: &Secret| secret.reveal().as_bytes().to_vec();
            Some((bytes(&certificate), bytes(&key)))
        }
        (None, None) => None,
        _ => {
            return Err(format!(
                "{name} gave a certificate without a key, or a key without one"
            ));
        }
    };
    if identity.is_none() && status.token.is_none() {
        return Err(format!("{name} gave neither a token nor a certificate"));
    }
    let until = status.expiration_timestamp.as_deref().and_then(moment);
    let good_for = until.map(|until| until.duration_since(SystemTime::now()).unwrap_or_default());
    Ok(Given {
        token: status.token,
        identity,
        good_for,
    })
}

/// `2026-11-24T09:00:00Z`; parts of a second do not matter. One in another form is as good as none:
/// the API refuses what is too old.
fn moment(text: &str) -> Option<SystemTime> {
    let text = text.replace("+00:00", "Z");
    let (seconds, parts) = text
        .split_once('.')
        .unwrap_or((text.trim_end_matches('Z'), "Z"));
    parts
        .ends_with('Z')
        .then(|| Date::moment(&format!("{seconds}Z")))?
}

/// The last line of what a program said, without what it was given to keep.
fn said(exec: &Exec, err: &[u8]) -> String {
    let text = String::from_utf8_lossy(err);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    let mut last = last.unwrap_or("it did not say why").to_owned();
    let kept = exec.env.iter().flat_map(|env| env.values());
    for secret in kept
        .chain(exec.args.iter().flatten())
        .filter(|text| text.len() >= 8)
    {
        last = last.replace(secret, "...");
    }
    shown(&last)
}

fn shown(text: &str) -> String {
    cut(&one_line(text), 300).into_owned()
}

const VERSIONS: [&str; 2] = [
    "client.authentication.k8s.io/v1",
    "client.authentication.k8s.io/v1beta1",
];
const PATIENCE: Duration = Duration::from_secs(60);
const MOST_BYTES: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn program(script: &str) -> Exec {
        Exec {
            api_version: VERSIONS[0].to_owned(),
            command: "sh".to_owned(),
            args: Some(vec!["-c".to_owned(), script.to_owned()]),
            env: Some([("WORD".to_owned(), "secret-of-env".to_owned())].into()),
            ..Exec::default()
        }
    }

    #[tokio::test]
    async fn a_program_gives_a_credential_or_says_why_not() {
        let start =
            r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":"#;
        let echo = |status: &str| format!("echo '{start}{status}}}'");
        for (script, expected) in [
            (echo(r#"{"token":"t"}"#), Ok("t")),
            (echo(r#"{"token":"t","expirationTimestamp":"2020-01-01T00:00:00Z"}"#), Ok("t")),
            (r#"printf '%s' "$KUBERNETES_EXEC_INFO" | sed 's/"spec".*/"status":{"token":"asked"}}/'"#.to_owned(), Ok("asked")),
            (echo(r#"{"token":"t","expirationTimestamp":"soon"}"#), Ok("t")),
            (echo(r#"{"clientCertificateData":"c"}"#), Err("gave a certificate without a key")),
            (echo("{}"), Err("gave neither a token nor a certificate")),
            ("echo secret".to_owned(), Err("something else than an ExecCredential")),
            (r#"echo '{"apiVersion":"v1","kind":"ExecCredential"}'"#.to_owned(), Err("something else")),
            ("echo first >&2; echo no login for $WORD >&2; exit 3".to_owned(), Err("sh failed (exit status: 3): no login for ...")),
            ("exit 1".to_owned(), Err("it did not say why")),
            ("yes | head -c 3000000".to_owned(), Err("something else")),
        ] {
            match (run(&program(&script), &Endpoint::default()).await, expected) {
                (Ok(given), Ok(token)) => assert_eq!(given.token.unwrap().reveal(), token),
                (Err(why), Err(expected)) => {
                    assert!(why.contains(expected), "{why:?} lacks {expected:?}");
                    assert!(!why.contains("secret"), "{why}");
                }
                (got, expected) => panic!("{script}: {} is not {expected:?}", got.is_ok()),
            }
        }
    }

    #[tokio::test]
    async fn a_program_that_is_missing_or_of_an_old_form_is_told() {
        let missing = Exec {
            command: "/none/such-login".to_owned(),
            install_hint: Some("Install it from example.com.".to_owned()),
            ..program("")
        };
        let told = run(&missing, &Endpoint::default()).await.err().unwrap();
        assert_eq!(
            told,
            "/none/such-login is not installed. Install it from example.com."
        );
        let old = Exec {
            api_version: "client.authentication.k8s.io/v1alpha1".to_owned(),
            ..program("")
        };
        let told = run(&old, &Endpoint::default()).await.err().unwrap();
        assert!(
            told.contains("api_version of sh has to be one of"),
            "{told}"
        );
    }

    #[test]
    fn the_end_of_a_credential_is_a_moment() {
        let day = |text| Date::moment(text);
        let nine = day("2026-11-24T09:00:00Z");
        assert!(nine.is_some());
        for (text, expected) in [
            ("2026-11-24T09:00:00Z", nine),
            ("2026-11-24T09:00:00.123Z", nine),
            ("2026-11-24T09:00:00+00:00", nine),
            ("2026-11-24T09:00:00+02:00", None),
            ("soon", None),
        ] {
            assert_eq!(moment(text), expected, "{text}");
        }
    }

    #[test]
    fn a_program_is_told_of_the_cluster_only_where_it_should() {
        let endpoint = Endpoint {
            server: "https://a".to_owned(),
            roots: Some(b"pem".to_vec()),
            ..Endpoint::default()
        };
        let quiet = asked(&program(""), &endpoint);
        assert!(!quiet.contains("https://a"), "{quiet}");
        let told = Exec {
            provide_cluster_info: true,
            ..program("")
        };
        let told = asked(&told, &endpoint);
        assert!(
            told.contains(r#""server":"https://a""#) && told.contains("cGVt"),
            "{told}"
        );
    }
}
