//! A kubeconfig: which cluster and which user a context names.
//!
//! In: the file of `kubectl config view`. Out: where the cluster is and how its user logs in, as
//! [`Endpoint`]. Names are shown, contents never. See: Kubernetes, kubeconfig (v1).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::endpoint::{Bearer, Endpoint, Exec, Secret, Source, Unusable, decoded};
use crate::http::small_file;
use crate::text::scalar::{self, Resolved};
use crate::text::yaml::{self, Content, NodeId, Nodes};

/// One file, or several as one. Holds secrets: no `Debug`.
pub(super) struct Kubeconfig {
    clusters: Vec<(String, Cluster)>,
    users: Vec<(String, User)>,
    contexts: Vec<(String, Context)>,
    current: Option<String>,
    /// `/home/core/.kube/config`
    place: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct File {
    clusters: Option<Vec<Named>>,
    users: Option<Vec<Named>>,
    contexts: Option<Vec<Named>>,
    current_context: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
    cluster: Option<Json>,
    user: Option<Json>,
    context: Option<Json>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Context {
    cluster: Option<String>,
    user: Option<String>,
}

/// Where a cluster is.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct Cluster {
    server: Option<String>,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: Option<bool>,
    tls_server_name: Option<String>,
    proxy_url: Option<Secret>,
}

/// How a user logs in.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct User {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<Secret>,
    client_key: Option<PathBuf>,
    client_key_data: Option<Secret>,
    token: Option<Secret>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    username: Option<String>,
    exec: Option<Program>,
    auth_provider: Option<Json>,
    r#as: Option<String>,
    as_groups: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Program {
    api_version: String,
    command: String,
    args: Option<Vec<String>>,
    env: Option<Vec<Variable>>,
    install_hint: Option<String>,
    provide_cluster_info: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Variable {
    name: String,
    value: String,
}

impl Kubeconfig {
    /// Of a file.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub(super) fn read(path: &Path) -> Result<Self, Unusable> {
        let place = path.display();
        let bytes = small_file(path).map_err(|why| Unusable(format!("{place}: {why}")))?;
        let text = String::from_utf8(bytes);
        let text = text.map_err(|_| Unusable(format!("{place}: is not UTF-8")))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let config = Self::parse(&text, folder);
        let config = config.map_err(|why| Unusable(format!("{place}: {why}")))?;
        let place = place.to_string();
        Ok(Self { place, ..config })
    }

    /// Of its text; paths in it are relative to a folder.
    ///
    /// # Errors
    /// Why it is none, without contents.
    pub(super) fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let nodes = yaml::parse(text).map_err(|error| match error.line {
            Some(line) => format!("line {line}: {}", error.message),
            None => error.message,
        })?;
        let file: File = match nodes.root() {
            Some(root) => of(json(&nodes, root, DEPTH_MAX, &mut VALUES_MAX.clone())?)?,
            None => File::default(),
        };
        let named = |list: Option<Vec<Named>>| list.unwrap_or_default().into_iter();
        let mut clusters = Vec::new();
        for named in named(file.clusters) {
            let mut cluster: Cluster = of(named.cluster.unwrap_or_default())?;
            relative(&mut cluster.certificate_authority, folder);
            clusters.push((named.name, cluster));
        }
        let mut users = Vec::new();
        for named in named(file.users) {
            let mut user: User = of(named.user.unwrap_or_default())?;
            for path in [
                &mut user.client_certificate,
                &mut user.client_key,
                &mut user.token_file,
            ] {
                relative(path, folder);
            }
            if let Some(program) = &mut user.exec
                && program.command.contains('/')
            {
                let command = folder.join(&program.command);
                program.command = command.display().to_string();
            }
            users.push((named.name, user));
        }
        let mut contexts = Vec::new();
        for named in named(file.contexts) {
            contexts.push((named.name, of(named.context.unwrap_or_default())?));
        }
        Ok(Self {
            clusters,
            users,
            contexts,
            current: file.current_context.filter(|name| !name.is_empty()),
            place: "the kubeconfig".to_owned(),
        })
    }

    /// This one, and what it lacks from another; as kubectl merges files.
    pub(super) fn then(mut self, other: Self) -> Self {
        self.clusters.extend(other.clusters);
        self.users.extend(other.users);
        self.contexts.extend(other.contexts);
        self.current = self.current.or(other.current);
        self.place = format!("{} with {}", self.place, other.place);
        self
    }

    /// Cluster and user of a context; `None`: of the current one.
    ///
    /// # Errors
    /// It, or what it names, is not there.
    pub(super) fn context(mut self, name: Option<&str>) -> Result<(Cluster, User), Unusable> {
        let current = self.current.clone();
        let Some(name) = name.map(str::to_owned).or(current) else {
            return Err(Unusable(format!(
                "{} has no context that is current: write config_context",
                self.place
            )));
        };
        let place = self.place.clone();
        let context = taken(&mut self.contexts, &name, "context", &place)?;
        let cluster = context.cluster.unwrap_or_default();
        let cluster = taken(&mut self.clusters, &cluster, "cluster", &place)?;
        let user = match context.user.filter(|name| !name.is_empty()) {
            Some(user) => taken(&mut self.users, &user, "user", &place)?,
            None => User::default(),
        };
        Ok((cluster, user))
    }
}

/// The first of this name.
fn taken<T>(
    list: &mut Vec<(String, T)>,
    name: &str,
    what: &str,
    place: &str,
) -> Result<T, Unusable> {
    let at = list.iter().position(|(known, _)| known == name);
    let Some(at) = at else {
        let known: Vec<&str> = list
            .iter()
            .map(|(name, _)| name.as_str())
            .take(10)
            .collect();
        return Err(Unusable(format!(
            "{place} has no {what} {name:?}; it has: {}",
            known.join(", ")
        )));
    };
    Ok(list.swap_remove(at).1)
}

fn relative(path: &mut Option<PathBuf>, folder: &Path) {
    if let Some(path) = path {
        *path = folder.join(&*path);
    }
}

impl Cluster {
    /// Without a login.
    ///
    /// # Errors
    /// Its certificates cannot be read.
    pub(super) fn endpoint(self) -> Result<Endpoint, Unusable> {
        let roots = match (self.certificate_authority_data, self.certificate_authority) {
            (Some(data), _) => {
                Some(decoded(&data).map_err(|why| format!("certificate-authority-data {why}")))
            }
            (None, Some(path)) => {
                Some(small_file(&path).map_err(|why| format!("{}: {why}", path.display())))
            }
            (None, None) => None,
        };
        Ok(Endpoint {
            server: self.server.unwrap_or_default(),
            roots: roots.transpose().map_err(Unusable)?,
            server_name: self.tls_server_name.filter(|name| !name.is_empty()),
            proxy: self.proxy_url,
            insecure: self.insecure_skip_tls_verify.unwrap_or(false),
            ..Endpoint::default()
        })
    }
}

impl User {
    /// Adds the login of this user.
    ///
    /// # Errors
    /// It is none that an API server still takes, or a part of it is missing.
    pub(super) fn logs_in(self, endpoint: &mut Endpoint) -> Result<(), Unusable> {
        let text = |data: Secret, what: &str| {
            let bytes = decoded(data.reveal());
            let text = bytes
                .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "holds no PEM".to_owned()));
            let text = text.map_err(|why| Unusable(format!("{what} {why}")))?;
            Ok(Source::Text(Secret::new(text)))
        };
        let source = |data: Option<Secret>, path: Option<PathBuf>, what| match (data, path) {
            (Some(data), _) => text(data, what).map(Some),
            (None, path) => Ok(path.map(Source::File)),
        };
        let certificate = source(
            self.client_certificate_data,
            self.client_certificate,
            "client-certificate-data",
        )?;
        let key = source(self.client_key_data, self.client_key, "client-key-data")?;
        let refused = |how: &str, instead: &str| {
            Err(Unusable(format!(
                "the user of the context logs in by {how}, {instead}"
            )))
        };
        endpoint.identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return refused(
                    "a certificate without a key, or a key without a certificate",
                    "which belong together",
                );
            }
        };
        endpoint.bearer = match (self.token_file, self.token, self.exec) {
            (Some(file), _, _) => Bearer::Token(Source::File(file)),
            (None, Some(token), _) => Bearer::Token(Source::Text(token)),
            (None, None, Some(program)) => Bearer::Exec(Box::new(program.exec())),
            (None, None, None) if endpoint.identity.is_some() => Bearer::None,
            (None, None, None) if self.auth_provider.is_some() => {
                return refused(
                    "auth-provider",
                    "which Kubernetes 1.26 has replaced by exec: renew the kubeconfig",
                );
            }
            (None, None, None) if self.username.is_some() => {
                return refused(
                    "username and password",
                    "which no API server takes since Kubernetes 1.19: use a token, a certificate or exec",
                );
            }
            (None, None, None) => Bearer::None,
        };
        let groups = self.as_groups.unwrap_or_default();
        endpoint.acts_as = self.r#as.map(|user| (user, groups));
        Ok(())
    }
}

impl Program {
    fn exec(self) -> Exec {
        let env = self.env.unwrap_or_default().into_iter();
        let env: BTreeMap<String, String> = env.map(|one| (one.name, one.value)).collect();
        Exec {
            api_version: self.api_version,
            command: self.command,
            args: self.args,
            env: Some(env),
            install_hint: self.install_hint,
            provide_cluster_info: self.provide_cluster_info.unwrap_or(false),
        }
    }
}

/// A part of a kubeconfig. What does not fit may be a secret, so it is not shown.
fn of<T: DeserializeOwned + Default>(json: Json) -> Result<T, String> {
    match json {
        Json::Null => Ok(T::default()),
        json => serde_json::from_value(json)
            .map_err(|_| "is no kubeconfig: a part of it has another form".to_owned()),
    }
}

/// YAML as JSON; what is neither null nor a boolean is text.
fn json(nodes: &Nodes, id: NodeId, depth: usize, left: &mut usize) -> Result<Json, String> {
    if depth == 0 || *left == 0 {
        return Err("is no kubeconfig: it is nested too deeply, or too long".to_owned());
    }
    *left -= 1;
    let node = nodes.get(id);
    match &node.content {
        Content::Alias(target) => json(nodes, *target, depth - 1, left),
        Content::Sequence(items) => {
            let items = items.iter().map(|item| json(nodes, *item, depth - 1, left));
            items.collect::<Result<_, _>>().map(Json::Array)
        }
        Content::Mapping(pairs) => {
            let mut object = Map::new();
            for (key, value) in pairs {
                let value = json(nodes, *value, depth - 1, left)?;
                object.insert(nodes.get(*key).text.clone(), value);
            }
            Ok(Json::Object(object))
        }
        Content::Scalar => match scalar::resolve(&node.tag, &node.text) {
            Ok((_, Resolved::Null)) => Ok(Json::Null),
            Ok((_, Resolved::Bool(value))) => Ok(Json::Bool(value)),
            _ => Ok(Json::String(node.text.clone())),
        },
    }
}

const DEPTH_MAX: usize = 50;
const VALUES_MAX: usize = 200_000;
