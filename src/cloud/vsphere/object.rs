//! Objects of the inventory, and what a query asks and answers of them. Pure.
//!
//! In: `{"obj": vm-12, "propSet": [{"name": "name", "val": "w-0"}]}`. Out: properties by their
//! paths. See: *vSphere Web Services API*, `PropertyCollector`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// A managed object: `{"type": "VirtualMachine", "value": "vm-12"}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Ref {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) value: String,
}

impl Ref {
    pub(super) fn new(kind: &str, value: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            value: value.to_owned(),
        }
    }

    /// As the API writes it in a request.
    pub(super) fn json(&self) -> Json {
        json!({"_typeName": "ManagedObjectReference", "type": self.kind, "value": self.value})
    }
}

/// What a query answers of one object: properties by their path. One that is not set is not there.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) of: Ref,
    properties: BTreeMap<String, Json>,
    /// Why some of its properties are not shown to this user.
    pub(super) hidden: Option<Json>,
}

impl Object {
    pub(super) fn new(of: Ref, properties: BTreeMap<String, Json>) -> Self {
        let hidden = None;
        Self {
            of,
            properties,
            hidden,
        }
    }

    /// A property, without the words for its type that stand around a bare value.
    pub(super) fn get(&self, path: &str) -> &Json {
        let value = self.properties.get(path).unwrap_or(&Json::Null);
        plain(value)
    }

    pub(super) fn text(&self, path: &str) -> &str {
        self.get(path).as_str().unwrap_or_default()
    }

    /// The elements of a property that is a list.
    pub(super) fn list(&self, path: &str) -> &[Json] {
        plain(self.get(path)).as_array().map_or(&[], Vec::as_slice)
    }

    /// A property that is an object of the inventory.
    pub(super) fn reference(&self, path: &str) -> Option<Ref> {
        serde_json::from_value(self.get(path).clone()).ok()
    }
}

/// `{"_typeName": "string", "_value": "a"}` is `"a"`.
pub(super) fn plain(value: &Json) -> &Json {
    value.get("_value").unwrap_or(value)
}

/// Where a query begins, and what it passes through.
pub(super) struct Query<'a> {
    /// Type of the objects that it is about, and the paths of their properties.
    pub(super) of: &'a [(&'a str, &'a [String])],
    pub(super) from: Vec<Json>,
}

/// An object that a query begins at, and how it goes on from there.
pub(super) fn start(at: &Ref, on: Json) -> Json {
    let mut start = json!({"_typeName": "ObjectSpec", "obj": at.json(), "skip": false});
    if !on.is_null() {
        start["selectSet"] = on;
    }
    start
}

/// One element of an answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Found {
    obj: Ref,
    #[serde(default)]
    prop_set: Vec<Property>,
    #[serde(default)]
    missing_set: Vec<Missing>,
}

/// A property that could not be read: `{"fault": {"_typeName": "NoPermission"}, "localizedMessage":
/// "..."}`
#[derive(Deserialize)]
struct Missing {
    #[serde(default)]
    fault: Json,
}

#[derive(Deserialize)]
struct Property {
    name: String,
    #[serde(default)]
    val: Json,
}

impl Found {
    /// The object; `None`: it went while it was read.
    ///
    /// # Errors
    /// The fault because of which a property is not known now: it must not count as not set.
    pub(super) fn object(self) -> Result<Option<Object>, Json> {
        let mut hidden = None;
        for missing in self.missing_set {
            match missing.fault["fault"]["_typeName"].as_str() {
                Some("ManagedObjectNotFound") => return Ok(None),
                // No such element of a list.
                Some("InvalidProperty" | "InvalidArgument") => {}
                Some("NoPermission") => hidden = Some(missing.fault),
                _ => return Err(missing.fault),
            }
        }
        let properties = self.prop_set.into_iter();
        let properties = properties.map(|one| (one.name, one.val)).collect();
        Ok(Some(Object {
            hidden,
            ..Object::new(self.obj, properties)
        }))
    }
}
