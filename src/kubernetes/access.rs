//! Access to a cluster, as users of kubectl and of the provider `hashicorp/kubernetes` have it:
//! what is written, then the `KUBE_*` variables, then a kubeconfig, then the Pod that this runs in.
//!
//! In: [`Access`] (`{config_path: "~/.kube/config", config_context: "prod"}`) and the environment.
//! Out: an [`Endpoint`] (`https://api.prod.example:6443`, whom to trust there, how to log in), or
//! which attribute or variable would set what is missing. Nothing is dialled.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::endpoint::{Bearer, Source};
pub use super::endpoint::{Endpoint, Exec, Secret, Unusable};
use super::kubeconfig::Kubeconfig;
use crate::http::{is_endpoint, is_private, small_file};

/// What is written of it. An empty string is not expected here.
#[derive(Clone, Default, Deserialize)]
#[allow(missing_docs)]
pub struct Access {
    pub config_path: Option<String>,
    pub config_content: Option<Secret>,
    pub config_context: Option<String>,
    pub host: Option<String>,
    pub token: Option<Secret>,
    pub cluster_ca_certificate: Option<String>,
    pub client_certificate: Option<Secret>,
    pub client_key: Option<Secret>,
    pub tls_server_name: Option<String>,
    pub proxy_url: Option<Secret>,
    pub insecure: Option<bool>,
    pub exec: Option<Exec>,
    /// Where it is written.
    #[serde(skip)]
    pub block: Block,
}

/// Where access is written: an attribute of the provider block, and how the variables begin that
/// say the rest. A group may be of one cluster, and its machines run on another one.
#[derive(Clone, Copy)]
#[allow(missing_docs)]
pub struct Block {
    pub name: &'static str,
    /// In place of `KUBE_`.
    pub variables: &'static str,
}

impl Default for Block {
    fn default() -> Self {
        Self {
            name: "kubernetes",
            variables: OURS,
        }
    }
}

impl Block {
    /// The variable that says here what this one says of the cluster that machines are Nodes of.
    pub fn variable(&self, name: &str) -> String {
        match name.strip_prefix(OURS) {
            Some(rest) => format!("{}{rest}", self.variables),
            None => name.to_owned(),
        }
    }
}

/// The value of a variable; one that is set to an empty string is not set.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Access {
    /// The endpoint, as these settings and an environment say it.
    ///
    /// # Errors
    /// What is missing, cannot be read, or does not fit together.
    pub fn endpoint(&self, environment: Environment<'_>) -> Result<Endpoint, Unusable> {
        let written = self.completed(environment);
        let configs = written.configs(environment)?;
        let mut endpoint = match (&written.host, configs) {
            (_, Some(config)) => {
                let (cluster, user) = config.context(written.config_context.as_deref())?;
                let mut endpoint = cluster.endpoint()?;
                user.logs_in(&mut endpoint)?;
                endpoint
            }
            (Some(_), None) => Endpoint::default(),
            (None, None) => written.in_cluster(environment)?,
        };
        written.overlay(&mut endpoint)?;
        if !is_endpoint(&endpoint.server) {
            return Err(Unusable(
                "the server of the cluster is no URL such as https://api.example:6443".to_owned(),
            ));
        }
        let is_read = reqwest::Url::parse(&endpoint.server).is_ok_and(|url| !is_private(&url));
        if is_read && !matches!(endpoint.bearer, Bearer::None) {
            return Err(Unusable(
                "the login would be sent by plain http, where others can read it; write https:// before the host".to_owned(),
            ));
        }
        Ok(endpoint)
    }

    /// With what the variables say of the rest.
    fn completed(&self, environment: Environment<'_>) -> Self {
        let environment = |name: &str| environment(&self.block.variable(name));
        let text = |written: &Option<String>, name| written.clone().or_else(|| environment(name));
        let secret = |written: &Option<Secret>, name| {
            let written = written.clone();
            written.or_else(|| environment(name).map(Secret::new))
        };
        let flag = |name| {
            environment(name)
                .map(|text| matches!(text.as_str(), "1" | "t" | "true" | "T" | "True" | "TRUE"))
        };
        Self {
            // What is written here is all that is meant.
            config_path: match self.config_content {
                Some(_) => None,
                None => text(&self.config_path, PATH),
            },
            config_content: self.config_content.clone(),
            config_context: text(&self.config_context, CONTEXT),
            host: text(&self.host, HOST),
            // Another way to log in that is written goes before a token of the environment.
            token: match self.exec.is_some() || self.client_certificate.is_some() {
                true => self.token.clone(),
                false => secret(&self.token, TOKEN),
            },
            cluster_ca_certificate: text(&self.cluster_ca_certificate, CA),
            client_certificate: secret(&self.client_certificate, CERTIFICATE),
            client_key: secret(&self.client_key, KEY),
            tls_server_name: text(&self.tls_server_name, SERVER_NAME),
            proxy_url: secret(&self.proxy_url, PROXY),
            insecure: self.insecure.or_else(|| flag(INSECURE)),
            exec: self.exec.clone(),
            block: self.block,
        }
    }

    /// The kubeconfig that is to be read, if any: kubectl's own only where nothing else is said.
    fn configs(&self, environment: Environment<'_>) -> Result<Option<Kubeconfig>, Unusable> {
        if let Some(content) = &self.config_content {
            let config = Kubeconfig::parse(content.reveal(), Path::new(""));
            let config = config.map_err(|why| Unusable(format!("config_content: {why}")))?;
            return Ok(Some(config));
        }
        if let Some(path) = &self.config_path {
            return Kubeconfig::read(&expanded(path, environment)).map(Some);
        }
        let Some(paths) = environment(KUBECONFIG).filter(|_| self.host.is_none()) else {
            return Ok(None);
        };
        let paths = std::env::split_paths(&paths);
        let named: Vec<PathBuf> = paths.filter(|path| !path.as_os_str().is_empty()).collect();
        let mut found: Option<Kubeconfig> = None;
        for path in named.iter().filter(|path| path.exists()) {
            let next = Kubeconfig::read(path)?;
            found = Some(match found {
                Some(earlier) => earlier.then(next),
                None => next,
            });
        }
        match found {
            Some(config) => Ok(Some(config)),
            None => Err(Unusable(format!(
                "none of the files that {KUBECONFIG} names is there"
            ))),
        }
    }

    fn overlay(&self, endpoint: &mut Endpoint) -> Result<(), Unusable> {
        if let Some(host) = &self.host {
            endpoint.server.clone_from(host);
        }
        if let Some(roots) = &self.cluster_ca_certificate {
            endpoint.roots = Some(roots.clone().into_bytes());
        }
        if self.tls_server_name.is_some() {
            endpoint.server_name.clone_from(&self.tls_server_name);
        }
        if self.proxy_url.is_some() {
            endpoint.proxy.clone_from(&self.proxy_url);
        }
        if let Some(insecure) = self.insecure {
            endpoint.insecure = insecure;
        }
        match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => {
                let text = |secret: &Secret| Source::Text(secret.clone());
                endpoint.identity = Some((text(certificate), text(key)));
                endpoint.bearer = Bearer::None;
            }
            (None, None) => {}
            _ => {
                let [certificate, key] = [CERTIFICATE, KEY].map(|name| self.block.variable(name));
                return Err(Unusable(format!(
                    "client_certificate ({certificate}) and client_key ({key}) belong together, and one of them is missing"
                )));
            }
        }
        if let Some(exec) = &self.exec {
            endpoint.bearer = Bearer::Exec(Box::new(exec.clone()));
        }
        if let Some(token) = &self.token {
            endpoint.bearer = Bearer::Token(Source::Text(token.clone()));
        }
        Ok(())
    }

    /// As a Pod's own service account has it. See: Accessing the Kubernetes API from a Pod.
    fn in_cluster(&self, environment: Environment<'_>) -> Result<Endpoint, Unusable> {
        let at = |file: &str| Path::new(SERVICE_ACCOUNT).join(file);
        let host = environment("KUBERNETES_SERVICE_HOST").filter(|_| at("token").exists());
        let Some(host) = host else {
            let [path, host] = [PATH, HOST].map(|name| self.block.variable(name));
            return Err(Unusable(format!(
                "nothing says which cluster: write config_path, or host and what logs in there, in {} of the provider block, or set \
                 {path}, {KUBECONFIG} or {host}",
                self.block.name
            )));
        };
        let host = match host.contains(':') {
            true => format!("[{host}]"),
            false => host,
        };
        let port = environment("KUBERNETES_SERVICE_PORT").unwrap_or_else(|| "443".to_owned());
        let roots = small_file(&at("ca.crt"));
        Ok(Endpoint {
            server: format!("https://{host}:{port}"),
            roots: Some(roots.map_err(|why| Unusable(format!("{SERVICE_ACCOUNT}/ca.crt: {why}")))?),
            bearer: Bearer::Token(Source::File(at("token"))),
            ..Endpoint::default()
        })
    }
}

/// `~/` is the home of who runs this.
fn expanded(path: &str, environment: Environment<'_>) -> PathBuf {
    let home = environment("HOME").or_else(|| environment("USERPROFILE"));
    match (path.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

/// The variables, by what they say.
pub const PATH: &str = "KUBE_CONFIG_PATH";
/// Files as kubectl has them.
pub const KUBECONFIG: &str = "KUBECONFIG";
/// `config_context`
pub const CONTEXT: &str = "KUBE_CTX";
/// `host`
pub const HOST: &str = "KUBE_HOST";
/// `token`
pub const TOKEN: &str = "KUBE_TOKEN";
/// `cluster_ca_certificate`
pub const CA: &str = "KUBE_CLUSTER_CA_CERT_DATA";
/// `client_certificate`
pub const CERTIFICATE: &str = "KUBE_CLIENT_CERT_DATA";
/// `client_key`
pub const KEY: &str = "KUBE_CLIENT_KEY_DATA";
/// `tls_server_name`
pub const SERVER_NAME: &str = "KUBE_TLS_SERVER_NAME";
/// `proxy_url`
pub const PROXY: &str = "KUBE_PROXY_URL";
/// `insecure`
pub const INSECURE: &str = "KUBE_INSECURE";

/// How the variables of the cluster begin that machines are Nodes of.
const OURS: &str = "KUBE_";
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const CONFIG: &str = "
apiVersion: v1
kind: Config
clusters:
- {name: a, cluster: {server: 'https://a:6443', certificate-authority-data: cGVt}}
- {name: b, cluster: {server: 'https://b:6443', insecure-skip-tls-verify: true, tls-server-name: c}}
users:
- {name: t, user: {token: hush}}
- {name: f, user: {tokenFile: tok}}
- {name: x, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: ./login, args: [a], env: [{name: A, value: b}]}}}
- {name: c, user: {client-certificate: c.pem, client-key-data: a2V5}}
- {name: p, user: {auth-provider: {name: gcp}}}
- {name: u, user: {username: a, password: hush}}
contexts:
- {name: one, context: {cluster: a, user: t}}
- {name: two, context: {cluster: b, user: f}}
- {name: three, context: {cluster: b, user: x}}
- {name: four, context: {cluster: a, user: c}}
- {name: five, context: {cluster: a, user: p}}
- {name: six, context: {cluster: a, user: u}}
- {name: seven, context: {cluster: a, user: nobody}}
current-context: one
";

    /// What is written, the environment, and what comes of both.
    type Row<'a> = (Access, Vec<(&'a str, &'a str)>, Result<String, &'a str>);

    /// An endpoint in a line.
    fn said(endpoint: &Endpoint) -> String {
        let source = |source: &Source| match source {
            Source::Text(text) => text.reveal().to_owned(),
            Source::File(path) => format!("file {}", path.display()),
        };
        let bearer = match &endpoint.bearer {
            Bearer::None => "none".to_owned(),
            Bearer::Token(token) => source(token),
            Bearer::Exec(exec) => format!("exec {} {:?}", exec.command, exec.args),
        };
        let roots = endpoint.roots.as_deref().map(String::from_utf8_lossy);
        let identity = endpoint.identity.as_ref();
        let identity = identity.map(|(one, other)| format!(" {}+{}", source(one), source(other)));
        format!(
            "{} {} {bearer}{}{}{}",
            endpoint.server,
            roots.unwrap_or("system".into()),
            identity.unwrap_or_default(),
            if endpoint.insecure { " insecure" } else { "" },
            endpoint.server_name.as_deref().unwrap_or_default()
        )
    }

    #[test]
    fn what_is_written_goes_before_variables_and_these_before_a_kubeconfig() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(at("config"), CONFIG).unwrap();
        std::fs::write(
            at("more"),
            CONFIG
                .replace("https://a", "https://z")
                .replace("one", "eight"),
        )
        .unwrap();
        let text = |text: &str| Some(text.to_owned());
        let secret = |text: &str| Some(Secret::new(text));
        let context = |name: &str| Access {
            config_path: Some(at("config")),
            config_context: text(name),
            ..Access::default()
        };
        let config = at("config");
        let both = format!("{}:{config}:{}", at("none"), at("more"));
        let tok = at("tok");
        let login = at("./login");
        let c_pem = at("c.pem");
        let host = || Access {
            host: text("https://h"),
            ..Access::default()
        };
        let rows: Vec<Row> = vec![
            (
                Access::default(),
                vec![],
                Err("nothing says which cluster: write config_path"),
            ),
            (
                Access::default(),
                vec![("KUBECONFIG", &config)],
                Ok("https://a:6443 pem hush".into()),
            ),
            (
                Access::default(),
                vec![("KUBECONFIG", &both), ("KUBE_CTX", "eight")],
                Ok("https://a:6443 pem hush".into()),
            ),
            (
                Access::default(),
                vec![("KUBECONFIG", "/none/such")],
                Err("none of the files that KUBECONFIG names"),
            ),
            (
                Access::default(),
                vec![("KUBE_CONFIG_PATH", "/none/such")],
                Err("/none/such: "),
            ),
            (
                Access::default(),
                vec![
                    ("KUBE_CONFIG_PATH", "~/config"),
                    ("HOME", folder.path().to_str().unwrap()),
                ],
                Ok("https://a:6443 pem hush".into()),
            ),
            (
                Access::default(),
                vec![("KUBE_HOST", "https://h"), ("KUBECONFIG", &config)],
                Ok("https://h system none".into()),
            ),
            (
                Access::default(),
                vec![("KUBE_HOST", "http://h"), ("KUBE_TOKEN", "v")],
                Err("the login would be sent by plain http"),
            ),
            (
                Access::default(),
                vec![("KUBE_HOST", "http://[::1]:8001"), ("KUBE_TOKEN", "v")],
                Ok("http://[::1]:8001 system v".into()),
            ),
            (
                Access::default(),
                vec![("KUBE_HOST", "http://h")],
                Ok("http://h system none".into()),
            ),
            (
                Access::default(),
                vec![
                    ("KUBE_HOST", "https://h"),
                    ("KUBE_TOKEN", "v"),
                    ("KUBE_INSECURE", "true"),
                ],
                Ok("https://h system v insecure".into()),
            ),
            (
                Access {
                    token: secret("w"),
                    ..host()
                },
                vec![("KUBE_TOKEN", "v")],
                Ok("https://h system w".into()),
            ),
            (
                Access {
                    client_certificate: secret("c"),
                    client_key: secret("k"),
                    ..host()
                },
                vec![("KUBE_TOKEN", "v")],
                Ok("https://h system none c+k".into()),
            ),
            (
                Access {
                    client_certificate: secret("c"),
                    ..host()
                },
                vec![],
                Err("client_certificate (KUBE_CLIENT_CERT_DATA) and client_key"),
            ),
            (
                context("two"),
                vec![],
                Ok(format!("https://b:6443 system file {tok} insecurec")),
            ),
            (
                context("three"),
                vec![],
                Ok(format!(
                    "https://b:6443 system exec {login} Some([\"a\"]) insecurec"
                )),
            ),
            (
                context("four"),
                vec![],
                Ok(format!("https://a:6443 pem none file {c_pem}+key")),
            ),
            (
                context("five"),
                vec![],
                Err("the user of the context logs in by auth-provider"),
            ),
            (
                context("six"),
                vec![],
                Err("the user of the context logs in by username and password"),
            ),
            (context("seven"), vec![], Err("has no user \"nobody\"")),
            (
                context("none"),
                vec![],
                Err("has no context \"none\"; it has: one, two, three"),
            ),
            (
                Access {
                    config_content: secret(CONFIG),
                    ..Access::default()
                },
                vec![("KUBE_CONFIG_PATH", "/none")],
                Ok("https://a:6443 pem hush".into()),
            ),
            (
                Access {
                    config_content: secret("a: [hush"),
                    ..Access::default()
                },
                vec![],
                Err("config_content: line 1"),
            ),
            (
                Access {
                    config_content: secret("clusters: hush"),
                    ..Access::default()
                },
                vec![],
                Err("config_content: is no kubeconfig"),
            ),
            (
                Access {
                    config_content: secret(""),
                    ..Access::default()
                },
                vec![],
                Err("has no context"),
            ),
            (
                Access {
                    host: text("h:6443"),
                    ..Access::default()
                },
                vec![],
                Err("is no URL such as"),
            ),
        ];
        for (access, variables, expected) in rows {
            let variables: BTreeMap<&str, &str> = variables.into_iter().collect();
            let environment = |name: &str| variables.get(name).map(|text| (*text).to_owned());
            let endpoint = access
                .endpoint(&environment)
                .map(|endpoint| said(&endpoint));
            match (endpoint, expected) {
                (Ok(endpoint), Ok(expected)) => assert_eq!(endpoint, expected, "{variables:?}"),
                (Err(Unusable(why)), Err(expected)) => {
                    assert!(why.contains(expected), "{why:?} lacks {expected:?}");
                    assert!(!why.contains("hush"), "{why}");
                }
                (got, expected) => panic!("{got:?} is not {expected:?}"),
            }
        }
        assert_eq!(format!("{:?}", Secret::new("hush")), "Secret");
    }
}
