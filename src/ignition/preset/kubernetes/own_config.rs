//! A kubelet configuration of the user's own, as the kubelet's strict reader takes it.
//!
//! In: YAML or JSON, one mapping, such as `maxPods: 200`. Out: the same as JSON, with `apiVersion`
//! and `kind`, which the kubelet wants to see in each part of its configuration.
//!
//! Source: Kubernetes, *Kubelet configuration directory*.

use serde_json::{Map, Value as Json, json};

use crate::text::scalar::{self, Resolved};
use crate::text::yaml::{self, Content, NodeId, Nodes};

/// Nested deeper than any configuration is.
const DEPTH_MAX: usize = 50;
/// More values than any configuration has.
const VALUES_MAX: usize = 10_000;

/// The configuration, indented, with a line feed at its end.
///
/// # Errors
/// A sentence that says why it is none, without its contents.
pub fn json(text: &str) -> Result<String, String> {
    let nodes = yaml::parse(text).map_err(|error| match error.line {
        Some(line) => format!("it is no YAML: line {line}: {}", error.message),
        None => format!("it is no YAML: {}", error.message),
    })?;
    if is_several(text) {
        return Err("it has more than one document".to_owned());
    }
    let root = nodes.root().ok_or("there is nothing in it")?;
    let Json::Object(own) = value(&nodes, root, DEPTH_MAX, &mut VALUES_MAX.clone())? else {
        return Err("it is no mapping, such as `maxPods: 200`".to_owned());
    };
    let mut whole = Map::new();
    for (key, expected) in [
        ("apiVersion", "kubelet.config.k8s.io/v1beta1"),
        ("kind", "KubeletConfiguration"),
    ] {
        if own.get(key).is_some_and(|said| said != expected) {
            return Err(format!("its {key} is another one than {expected}"));
        }
        whole.insert(key.to_owned(), json!(expected));
    }
    whole.extend(own);
    let text = serde_json::to_string_pretty(&Json::Object(whole));
    text.map(|text| text + "\n")
        .map_err(|error| error.to_string())
}

/// Whether a document ends before the text does: what comes after it would be passed over.
fn is_several(text: &str) -> bool {
    let lines = text.lines().map(str::trim_end);
    let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.next();
    lines.any(|line| line == "---" || line.starts_with("--- ") || line == "...")
}

fn value(nodes: &Nodes, id: NodeId, depth: usize, left: &mut usize) -> Result<Json, String> {
    if depth == 0 || *left == 0 {
        return Err("it is nested too deeply, or too long".to_owned());
    }
    *left -= 1;
    let node = nodes.get(id);
    match &node.content {
        Content::Alias(target) => value(nodes, *target, depth - 1, left),
        Content::Sequence(items) => {
            let items = items
                .iter()
                .map(|item| value(nodes, *item, depth - 1, left));
            items.collect::<Result<_, _>>().map(Json::Array)
        }
        Content::Mapping(pairs) => {
            let mut object = Map::new();
            for (key, inner) in pairs {
                let inner = value(nodes, *inner, depth - 1, left)?;
                let key = nodes.get(*key).text.clone();
                if object.insert(key, inner).is_some() {
                    return Err("a key stands there twice".to_owned());
                }
            }
            Ok(Json::Object(object))
        }
        Content::Scalar => match scalar::resolve(&node.tag, &node.text) {
            Ok((_, Resolved::Null)) => Ok(Json::Null),
            Ok((_, Resolved::Bool(is_true))) => Ok(Json::Bool(is_true)),
            Ok((_, Resolved::Int(number))) => Ok(number.into()),
            Ok((_, Resolved::Unsigned(number))) => Ok(number.into()),
            Ok((_, Resolved::Float(number))) => Ok(number.into()),
            _ => Ok(Json::String(node.text.clone())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cores_encode_and_what_people_write_are_the_same_configuration() {
        let expected = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "maxPods": 200,
            "failSwapOn": false,
            "clusterDNS": ["10.0.0.10"],
            "shutdownGracePeriod": "60s",
            "a": "0644",
        });
        for text in [
            "maxPods: 200\nfailSwapOn: false\nclusterDNS: [10.0.0.10]\nshutdownGracePeriod: 60s\na: '0644'\n",
            "---\n# yamlencode\n\"maxPods\": 200\n\"failSwapOn\": false\n\"clusterDNS\":\n- \"10.0.0.10\"\n\"shutdownGracePeriod\": \"60s\"\n\"a\": \"0644\"\n\"kind\": \"KubeletConfiguration\"\n",
            r#"{"apiVersion":"kubelet.config.k8s.io/v1beta1","maxPods":200,"failSwapOn":false,"clusterDNS":["10.0.0.10"],"shutdownGracePeriod":"60s","a":"0644"}"#,
        ] {
            let read: Json = serde_json::from_str(&json(text).unwrap()).unwrap();
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_configuration_is_refused_without_its_contents() {
        let deep = "[".repeat(60) + &"]".repeat(60);
        for (text, why) in [
            ("", "nothing in it"),
            ("# only\n", "nothing in it"),
            ("- a\n", "no mapping"),
            ("s3cret", "no mapping"),
            ("a: [s3cret", "no YAML"),
            ("a: 1\n---\nb: 2\n", "more than one"),
            ("kind: Pod\n", "its kind is another one"),
            ("a: 1\na: 2\n", "twice"),
            (deep.as_str(), "too deeply"),
        ] {
            let said = json(text).unwrap_err();
            assert!(
                said.contains(why) && !said.contains("s3cret"),
                "{text}: {said}"
            );
        }
    }
}
