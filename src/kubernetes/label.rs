//! Keys and values of labels and taints, names of Nodes, and selectors: what the API takes.
//!
//! See: Kubernetes, *Labels and Selectors*, *Object Names and IDs*.

/// What a key has to be, for a diagnostic.
pub(crate) const KEY_SAYS: &str = "At most 63 letters, digits, `-`, `_` and `.`, a letter or digit first and last, perhaps after a domain and `/`";
/// What a value has to be, for a diagnostic.
pub(crate) const VALUE_SAYS: &str = "At most 63 letters, digits, `-`, `_` and `.`, a letter or digit first and last, or the empty string";
/// What a Node's name has to be, for a diagnostic.
pub(crate) const NAME_SAYS: &str =
    "At most 253 lower-case letters, digits, `-` and `.`, a letter or digit first and last";
/// What a selector has to be, for a diagnostic.
pub(crate) const SELECTOR_SAYS: &str =
    "A selector of labels as kubectl takes it: `os=ubuntu`, `tier!=db,pool in (a, b)`";

/// A key of a label or taint, but those that this provider itself writes.
pub(crate) fn is_key(text: &str) -> bool {
    is_any_key(text)
        && text
            .split_once('/')
            .is_none_or(|(prefix, _)| prefix != OURS)
}

fn is_any_key(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(is_name) && is_word(name, 63)
}

/// A value of a label or taint.
pub(crate) fn is_value(text: &str) -> bool {
    text.is_empty() || is_word(text, 63)
}

/// A name of a Node: a DNS name.
pub(crate) fn is_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let part = |part: &str| is_word(part, 63) && part.bytes().all(letter);
    text.len() <= 253 && text.split('.').all(part)
}

/// A selector that selects by something: `os=ubuntu`, `!old`, `pool in (a, b)`, and these after
/// commas.
pub(crate) fn is_selector(text: &str) -> bool {
    let mut rest = text.trim();
    while !rest.is_empty() {
        // The commas of a list do not end it.
        let end = match (rest.find(','), rest.find('(')) {
            (Some(comma), Some(open)) if open < comma => rest.find(')').map(|close| close + 1),
            (Some(comma), _) => Some(comma),
            (None, _) => Some(rest.len()),
        };
        let Some((one, more)) = end.and_then(|end| rest.split_at_checked(end)) else {
            return false;
        };
        if !is_requirement(one.trim()) {
            return false;
        }
        let more = more.trim_start();
        match more.strip_prefix(',') {
            Some(next) if next.trim().is_empty() => return false,
            Some(next) => rest = next.trim_start(),
            None if more.is_empty() => return true,
            None => return false,
        }
    }
    false
}

fn is_requirement(text: &str) -> bool {
    for (sign, is_list) in [
        ("!=", false),
        ("==", false),
        ("=", false),
        (" notin ", true),
        (" in ", true),
    ] {
        let Some((key, value)) = text.split_once(sign) else {
            continue;
        };
        let value = value.trim();
        let list = value
            .strip_prefix('(')
            .and_then(|list| list.strip_suffix(')'));
        return is_any_key(key.trim())
            && match (is_list, list) {
                (true, Some(list)) => list.split(',').all(|value| is_value(value.trim())),
                (true, None) => false,
                (false, _) => is_value(value),
            };
    }
    is_any_key(text.strip_prefix('!').unwrap_or(text).trim())
}

/// Letters, digits and `-_.`, a letter or digit first and last.
fn is_word(text: &str, most: usize) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    bytes.len() <= most && ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(fits)
}

const OURS: &str = "flatcar-iac.github.io";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_such_as_kubectl_takes() {
        for good in [
            "os=ubuntu",
            "os==ubuntu",
            "os!=ubuntu",
            "os",
            "!os",
            "os=",
            "kubernetes.io/os=linux,pool=a",
            "pool in (a, b),!old",
            "pool notin (a,b) , x",
            "a=b, c=d",
        ] {
            assert!(is_selector(good), "{good}");
        }
        for bad in [
            "",
            " ",
            ",",
            "a=b,",
            ",a=b",
            "a=b,,c",
            "a b",
            "a in b",
            "a in (b",
            "a in (b) c",
            "a in (b",
            "=b",
            "a=b=c",
            "a=-",
            "a;b",
            "a=b\nc",
            "a>1",
            "A_/b",
            "!",
        ] {
            assert!(!is_selector(bad), "{bad:?}");
        }
    }

    #[test]
    fn names_are_dns_names() {
        let long = ["a"; 127].join(".");
        for (text, is) in [
            ("w-0", true),
            ("ip-10-0-0-1.eu-central-1.compute.internal", true),
            (&long, true),
            ("", false),
            ("W-0", false),
            ("a_b", false),
            (".a", false),
            ("a/b", false),
        ] {
            assert_eq!(is_name(text), is, "{text}");
        }
        assert!(!is_name(&format!("{long}a.a")));
    }
}
