//! URLs as the reference reads them: what Go's `net/url` (1.26) refuses, and the schemes that
//! Ignition fetches from.

use crate::ignition::packing::data_url;

pub(crate) const UNPARSABLE: &str = "unable to parse url";
pub(crate) const SCHEME_INVALID: &str = "invalid url scheme";
const VERSION_ID_INVALID: &str = "invalid S3 object VersionId";
const ARN_INVALID: &str = "invalid S3 ARN format";

/// The parts that rules ask for.
pub(crate) struct Url<'a> {
    /// In lower case; "" where there is none.
    pub(crate) scheme: String,
    opaque: &'a str,
    query: &'a str,
}

/// Checks the URL of a resource for an Ignition of the given minor version.
pub(crate) fn check_source(source: &str, spec_minor: u8) -> Result<(), String> {
    let url = parse(source)?;
    let checked = match url.scheme.as_str() {
        "http" | "https" | "tftp" | "gs" => Ok(()),
        "s3" => check_version_id(&url),
        "arn" if spec_minor >= 4 => check_arn(&url).and_then(|()| check_version_id(&url)),
        "data" => return data_url::check(source),
        _ => Err(SCHEME_INVALID),
    };
    checked.map_err(str::to_owned)
}

fn check_version_id(url: &Url<'_>) -> Result<(), &'static str> {
    let value = url
        .query
        .split('&')
        .filter(|pair| !pair.contains(';'))
        .find_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // Pairs that cannot be unescaped are no pairs.
            let valid = unescapes(name, Part::Other) && unescapes(value, Part::Other);
            (valid && unescaped(name) == "versionId").then_some(value)
        });
    match value {
        Some("") => Err(VERSION_ID_INVALID),
        _ => Ok(()),
    }
}

fn check_arn(url: &Url<'_>) -> Result<(), &'static str> {
    let sections: Vec<&str> = url.opaque.splitn(5, ':').collect();
    let [_partition, service, _region, _account, resource] = sections[..] else {
        return Err(ARN_INVALID);
    };
    let slashes = url.opaque.matches('/').count();
    let enough = if resource.starts_with("accesspoint/") {
        2
    } else {
        1
    };
    match service == "s3" && slashes >= enough {
        true => Ok(()),
        false => Err(ARN_INVALID),
    }
}

/// Splits a URL, or says that it is none.
pub(crate) fn parse(text: &str) -> Result<Url<'_>, &'static str> {
    if text.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Err(UNPARSABLE);
    }
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (scheme, rest) = split_scheme(text)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let scheme = scheme.to_ascii_lowercase();
    if !unescapes(fragment, Part::Other) {
        return Err(UNPARSABLE);
    }
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            return Ok(Url {
                scheme,
                opaque: rest,
                query,
            });
        }
        if rest
            .split('/')
            .next()
            .is_some_and(|segment| segment.contains(':'))
        {
            return Err(UNPARSABLE);
        }
    }
    let mut path = rest;
    if let Some(after) = rest.strip_prefix("//")
        && (!scheme.is_empty() || !rest.starts_with("///"))
    {
        let end = after.find('/').unwrap_or(after.len());
        check_authority(&after[..end])?;
        path = &after[end..];
    }
    match unescapes(path, Part::Other) {
        true => Ok(Url {
            scheme,
            opaque: "",
            query,
        }),
        false => Err(UNPARSABLE),
    }
}

fn split_scheme(text: &str) -> Result<(&str, &str), &'static str> {
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if index > 0 => {}
            b':' if index == 0 => return Err(UNPARSABLE),
            b':' => return Ok((&text[..index], &text[index + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn check_authority(authority: &str) -> Result<(), &'static str> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (user, host),
        None => ("", authority),
    };
    let valid_user = user
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b));
    match valid_user && unescapes(user, Part::Other) && is_host(host) {
        true => Ok(()),
        false => Err(UNPARSABLE),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(bracketed) = host.strip_prefix('[') {
        let Some((address, port)) = bracketed.rsplit_once(']') else {
            return false;
        };
        let (address, zone) = match address.find("%25") {
            Some(at) => (&address[..at], &address[at + 3..]),
            None => (address, ""),
        };
        return is_port(port)
            && address.parse::<std::net::Ipv6Addr>().is_ok()
            && unescapes(zone, Part::Other);
    }
    let (name, port) = match host.find(':') {
        Some(colon) => (&host[..colon], &host[colon..]),
        None => (host, ""),
    };
    is_port(port) && unescapes(name, Part::Host)
}

/// "" or a colon with digits or none.
fn is_port(port: &str) -> bool {
    port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Host,
    Other,
}

/// Every `%` begins an escape; in a host only of a byte beyond ASCII, and some characters may not
/// stand there at all.
fn unescapes(text: &str, part: Part) -> bool {
    let bytes = text.as_bytes();
    let mut index = 0;
    while index < bytes.len() {
        match bytes[index] {
            b'%' => {
                let Some(digits) = bytes
                    .get(index + 1..index + 3)
                    .filter(|d| d.iter().all(u8::is_ascii_hexdigit))
                else {
                    return false;
                };
                if part == Part::Host && digits[0] < b'8' && digits != b"25" {
                    return false;
                }
                index += 3;
                continue;
            }
            b if part == Part::Host
                && b.is_ascii()
                && !b.is_ascii_alphanumeric()
                && !b"-_.~!$&'()*+,;=:[]<>\"".contains(&b) =>
            {
                return false;
            }
            _ => {}
        }
        index += 1;
    }
    true
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escape = (*first == b'%').then(|| tail.get(..2)).flatten();
        let value = escape
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, value) {
            (_, Some(value)) => {
                bytes.push(value);
                rest = &tail[2..];
            }
            (b'+', None) => {
                bytes.push(b' ');
                rest = tail;
            }
            (byte, None) => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
