//! A line of an `authorized_keys` file: whether a server would take it for a key.
//!
//! `no-pty ssh-ed25519 AAAAC3Nz... comment`: options, a type, the key in base64, whose first field
//! is the type again.
//!
//! Source: sshd(8), section AUTHORIZED_KEYS FILE FORMAT; RFC 4253, section 6.6.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What the OpenSSH of Flatcar takes. `ssh-dss` is not among them.
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];
/// With `cert-authority` a line holds a key; a certificate itself stands in a file of the client.
const CERTIFICATE: &str = "-cert-v01@openssh.com";

const CUT_OFF: &str = "the key is cut off or damaged: copy the whole line again";

/// That the line is a public key.
/// # Errors
/// What is wrong with it, without a word of it.
pub(crate) fn check(line: &str) -> Result<(), String> {
    if line.contains("PRIVATE KEY") {
        return Err(
            "it is a private key: write the public one, from the file that ends in .pub".to_owned(),
        );
    }
    let mut words = line.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    let (kind, key) = match TYPES.contains(&first) {
        true => (first, words.next()),
        false => {
            let mut words = after_options(line).split_ascii_whitespace();
            (words.next().unwrap_or_default(), words.next())
        }
    };
    if kind.ends_with(CERTIFICATE) || first.ends_with(CERTIFICATE) {
        return Err("it is a certificate: write the public key that signs them, after the option cert-authority".to_owned());
    }
    if !TYPES.contains(&kind) {
        return Err(format!(
            "it is no key in the form of authorized_keys, `ssh-ed25519 AAAA... comment`, with one of the types {}",
            TYPES.join(", ")
        ));
    }
    let Some(key) = key.and_then(|key| STANDARD.decode(key).ok()) else {
        return Err(
            "what follows the type of the key is not base64: copy the whole line again".to_owned(),
        );
    };
    let Some(fields) = fields(&key) else {
        return Err(CUT_OFF.to_owned());
    };
    match fields[..] {
        [inner, ..] if inner != kind.as_bytes() => Err(
            "the key is of another type than the line says: copy the whole line again".to_owned(),
        ),
        [_, _, ..] => Ok(()),
        _ => Err(CUT_OFF.to_owned()),
    }
}

/// What follows the first blank outside of quotes.
fn after_options(line: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    for (at, char) in line.char_indices() {
        match char {
            '"' if !escaped => quoted = !quoted,
            ' ' | '\t' if !quoted => return line[at..].trim_start(),
            _ => {}
        }
        escaped = char == '\\' && !escaped;
    }
    ""
}

/// The fields of a key, each behind its length in four bytes; `None` when they do not fill it.
fn fields(mut key: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while !key.is_empty() {
        let (length, rest) = key.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (field, rest) = rest.split_at_checked(length)?;
        fields.push(field);
        key = rest;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJ2mD6pXxFWyNPKiy6tYbWDNoTqWmQ1sFcbzv3b8nVJm";

    #[test]
    fn a_key_is_one_of_a_known_type_whose_inside_agrees() {
        let cut = &KEY[..64];
        for (line, words) in [
            (format!("ssh-ed25519 {KEY}"), ""),
            (format!("ssh-ed25519  {KEY} a comment"), ""),
            (format!("no-pty,command=\"a \\\" b\" ssh-ed25519 {KEY}"), ""),
            (format!("cert-authority ssh-ed25519 {KEY}"), ""),
            (format!("ssh-rsa {KEY}"), "another type"),
            (format!("ssh-ed25519 {cut}"), "cut off"),
            ("ssh-ed25519 AAAA".to_owned(), "cut off"),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5".to_owned(), "cut off"),
            ("ssh-ed25519".to_owned(), "not base64"),
            ("ssh-ed25519 hunter2-secret".to_owned(), "not base64"),
            (format!("ssh-ed448 {KEY}"), "no key in the form"),
            (
                format!("command=\"a ssh-ed25519 {KEY}"),
                "no key in the form",
            ),
            (KEY.to_owned(), "no key in the form"),
            ("hunter2 secret".to_owned(), "no key in the form"),
            (
                "---- BEGIN SSH2 PUBLIC KEY ----".to_owned(),
                "no key in the form",
            ),
            (
                "-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(),
                "private key",
            ),
            (
                format!("ssh-ed25519-cert-v01@openssh.com {KEY}"),
                "certificate",
            ),
        ] {
            let refusal = check(&line).err().unwrap_or_default();
            assert_eq!(refusal.is_empty(), words.is_empty(), "{line}: {refusal}");
            assert!(refusal.contains(words), "{line}: {refusal}");
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
    }
}
