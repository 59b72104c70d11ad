//! Things that users name (images, networks): by a name, which has to be looked up, or by an id. Of
//! two of one name neither is taken, for which one is would be chance.
//!
//! In: `"flatcar-stable"`, and the two images of that name. Out: that the id is to be written,
//! blamed on `image`.

use super::{Answered, CloudError, Kind};

/// What a thing is looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Named<'a> {
    Name(&'a str),
    Id(&'a str),
}

impl<'a> Named<'a> {
    /// What is no UUID is a name.
    pub fn of(text: &'a str) -> Self {
        match is_uuid(text) {
            true => Self::Id(text),
            false => Self::Name(text),
        }
    }

    /// By the id, where there is one.
    pub fn either(id: &'a Option<String>, name: &'a Option<String>) -> Self {
        match id {
            Some(id) => Self::Id(id),
            None => Self::Name(name.as_deref().unwrap_or_default()),
        }
    }
}

/// `0f3c6a0e-....`, with or without hyphens.
pub fn is_uuid(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    let mut bytes = text.bytes();
    digits == 32 && bytes.all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// How things of one sort are asked for, and what they are called to a user.
pub struct Lookup {
    /// The API's word, as in [`CloudError`].
    pub action: &'static str,
    what: &'static str,
    attribute: &'static str,
}

impl Lookup {
    /// `what` is one of them: `"network"`; `attribute` names them: `"openstack.networks"`.
    pub const fn new(action: &'static str, what: &'static str, attribute: &'static str) -> Self {
        Self {
            action,
            what,
            attribute,
        }
    }

    /// The one of this name.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn one<T>(&self, mut found: Vec<T>, name: &str) -> Answered<T> {
        match (found.pop(), found.len()) {
            (Some(one), 0) => Ok(one),
            (None, _) => Err(self.missing(name)),
            (Some(_), more) => {
                let words = format!("{} {}s of this name; give the id", more + 1, self.what);
                Err(self.bad(name, words))
            }
        }
    }

    /// That there is none.
    pub fn missing(&self, name: &str) -> CloudError {
        self.bad(name, format!("no such {} in this project", self.what))
    }

    fn bad(&self, name: &str, words: String) -> CloudError {
        CloudError::new(Kind::BadRequest, self.action, name, words).blaming(self.attribute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_one_name_are_not_guessed_between() {
        let images = Lookup::new("List", "image", "image");
        assert_eq!(images.one(vec![1], "x").unwrap(), 1);
        for (found, words) in [
            (vec![], "no such image"),
            (vec![1, 2], "2 images of this name"),
        ] {
            let error = images.one(found, "x").unwrap_err();
            assert!(error.message.contains(words), "{error}");
            assert_eq!(error.attribute, Some("image"));
        }
    }

    #[test]
    fn only_ids_are_ids() {
        for (text, expected) in [
            ("0f3c6a0e-1111-2222-3333-444455556666", true),
            ("0f3c6a0e111122223333444455556666", true),
            ("flatcar-stable", false),
            ("", false),
        ] {
            assert_eq!(matches!(Named::of(text), Named::Id(_)), expected, "{text}");
        }
    }
}
