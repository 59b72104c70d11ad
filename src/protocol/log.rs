//! The log: one JSON object a line on stderr, in the form that both cores parse and show under
//! `TF_LOG`.
//!
//! ```text
//! {"@level":"info","@message":"created a machine","@module":"provider","@timestamp":"2026-01-02T03:04:05.000006Z","machine":"w-1"}
//! ```
//! Nothing is formatted unless its level is asked for. Whoever logs keeps user data, tokens and
//! configured values out.
//! See: go-plugin `log_entry.go`; terraform `internal/logging`.

use std::backtrace::Backtrace;
use std::cell::Cell;
use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime};

use super::visible::visible;

/// A field's name and value: `("machine", &name)`.
pub type Field<'a> = (&'a str, &'a dyn Display);

/// How much a line matters; the more, the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace = 1,
    /// What a developer of the provider wants to see.
    Debug = 2,
    /// What a user may want to see.
    Info = 3,
    /// Worked, but should not have been needed.
    Warn = 4,
    /// Did not work.
    Error = 5,
}

/// Who speaks, and so which variable sets the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// The provider: `TF_LOG_PROVIDER_FLATCAR`, `TF_LOG_PROVIDER`, `TF_LOG`.
    Provider,
    /// The protocol under it: `TF_LOG_SDK`, then as above.
    Sdk,
}

/// Reads the levels from the environment and lets a panic speak as the cores want it. Once, first
/// thing in `main`.
pub fn init() {
    let variable =
        |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    for module in [Module::Provider, Module::Sdk] {
        module
            .threshold()
            .store(threshold(module, &variable), Ordering::Relaxed);
    }
    std::panic::set_hook(Box::new(|panic| {
        if panics_are_expected() {
            return;
        }
        let _ = std::io::stderr().lock().write_all(report(panic).as_bytes());
    }));
}

/// Every step.
pub fn trace(message: &str, fields: &[Field<'_>]) {
    write(Module::Provider, Level::Trace, message, fields);
}

/// What a developer of the provider wants to see.
pub fn debug(message: &str, fields: &[Field<'_>]) {
    write(Module::Provider, Level::Debug, message, fields);
}

/// What a user may want to see.
pub fn info(message: &str, fields: &[Field<'_>]) {
    write(Module::Provider, Level::Info, message, fields);
}

/// Worked, but should not have been needed.
pub fn warn(message: &str, fields: &[Field<'_>]) {
    write(Module::Provider, Level::Warn, message, fields);
}

/// Did not work.
pub fn error(message: &str, fields: &[Field<'_>]) {
    write(Module::Provider, Level::Error, message, fields);
}

/// Writes a line, if the level of `module` asks for it.
pub fn write(module: Module, level: Level, message: &str, fields: &[Field<'_>]) {
    if enabled(module, level) {
        // Nobody is left to hear that stderr is gone.
        let _ = std::io::stderr()
            .lock()
            .write_all(line(module, level, message, fields, SystemTime::now()).as_bytes());
    }
}

/// Whether a line of this level would be written; for messages that are dear to make.
pub fn enabled(module: Module, level: Level) -> bool {
    level as u8 >= module.threshold().load(Ordering::Relaxed)
}

impl Module {
    fn threshold(self) -> &'static AtomicU8 {
        static PROVIDER: AtomicU8 = AtomicU8::new(OFF);
        static SDK: AtomicU8 = AtomicU8::new(OFF);
        match self {
            Self::Provider => &PROVIDER,
            Self::Sdk => &SDK,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Sdk => "sdk.proto",
        }
    }
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// The first variable that is set counts. As in core, a word that is no level (`1`, `JSON`) asks
/// for everything.
fn threshold(module: Module, variable: &dyn Fn(&str) -> Option<String>) -> u8 {
    let names = match module {
        Module::Provider => &LEVEL_VARIABLES[1..],
        Module::Sdk => &LEVEL_VARIABLES[..],
    };
    let asked = names
        .iter()
        .find_map(|name| variable(name).filter(|value| !value.is_empty()));
    match asked.map(|level| level.to_ascii_lowercase()).as_deref() {
        None | Some("off") => OFF,
        Some("debug") => Level::Debug as u8,
        Some("info") => Level::Info as u8,
        Some("warn") => Level::Warn as u8,
        Some("error") => Level::Error as u8,
        Some(_) => Level::Trace as u8,
    }
}

fn line(
    module: Module,
    level: Level,
    message: &str,
    fields: &[Field<'_>],
    now: SystemTime,
) -> String {
    let mut line = String::from("{\"@level\":");
    push_string(&mut line, level.name(), LONGEST_VALUE);
    line += ",\"@message\":";
    push_string(&mut line, &visible(message), LONGEST_MESSAGE);
    line += ",\"@module\":";
    push_string(&mut line, module.name(), LONGEST_VALUE);
    line += ",\"@timestamp\":";
    push_string(&mut line, &timestamp(now), LONGEST_VALUE);
    for (key, value) in fields {
        if line.len() > LONGEST_LINE - 2 * LONGEST_VALUE - 16 {
            break;
        }
        line.push(',');
        // `@` is core's own; it panics when one of those is not what it expects.
        push_string(&mut line, key.trim_start_matches('@'), LONGEST_VALUE);
        line.push(':');
        push_string(&mut line, &visible(&value.to_string()), LONGEST_VALUE);
    }
    line += "}\n";
    line
}

/// A JSON string of at most `longest` bytes with its quotes; what is cut off is shown by an
/// ellipsis.
fn push_string(out: &mut String, text: &str, longest: usize) {
    let end = out.len() + longest - "…\"".len();
    out.push('"');
    for character in text.chars() {
        let start = out.len();
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            _ => out.push(character),
        }
        if out.len() > end {
            out.truncate(start);
            out.push('…');
            break;
        }
    }
    out.push('"');
}

/// RFC 3339 with exactly six decimals, for core shows a line with any other as it is:
/// `2026-01-02T03:04:05.000006Z`.
pub fn timestamp(now: SystemTime) -> String {
    let since = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // The civil calendar in years that begin in March, so that the leap day comes last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let micros = since.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Calls a library that panics on some input as others return an error. Core shows whatever a
/// plugin says of a panic as a crash, so nothing is said of this one.
///
/// # Errors
/// It panicked.
pub fn expecting_panics<T>(
    call: impl FnOnce() -> T + std::panic::UnwindSafe,
) -> std::thread::Result<T> {
    let outer = PANICS_EXPECTED.replace(true);
    let answer = std::panic::catch_unwind(call);
    PANICS_EXPECTED.set(outer);
    answer
}

/// Whether this thread is inside [`expecting_panics`]: for a panic hook.
pub fn panics_are_expected() -> bool {
    PANICS_EXPECTED.get()
}

thread_local! {
    static PANICS_EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// `panic: ` and a stack: core collects such lines and shows them at the end when the command
/// fails.
fn report(panic: &PanicHookInfo<'_>) -> String {
    let message = panic.payload_as_str().unwrap_or("no message");
    let place = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    format!(
        "panic: {} at {place}\n\n{}\n",
        visible(&without_quoted(message)),
        Backtrace::force_capture()
    )
}

/// Slicing a text at a wrong place panics with the text itself between backticks, and that may be a
/// secret.
fn without_quoted(message: &str) -> String {
    match (message.find('`'), message.rfind('`')) {
        (Some(first), Some(last)) if first < last => {
            format!("{}`...`{}", &message[..first], &message[last + 1..])
        }
        _ => message.to_owned(),
    }
}

const LEVEL_VARIABLES: [&str; 4] = [
    "TF_LOG_SDK",
    "TF_LOG_PROVIDER_FLATCAR",
    "TF_LOG_PROVIDER",
    "TF_LOG",
];
const OFF: u8 = u8::MAX;

/// Core splits lines at 64 KiB, and the parts are JSON no more.
const LONGEST_LINE: usize = 60 << 10;
const LONGEST_MESSAGE: usize = 32 << 10;
const LONGEST_VALUE: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(message: &str, fields: &[Field<'_>]) -> serde_json::Value {
        let line = line(
            Module::Provider,
            Level::Warn,
            message,
            fields,
            SystemTime::UNIX_EPOCH,
        );
        assert!(line.len() < 64 << 10, "{} bytes", line.len());
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn a_line_is_an_object_of_strings() {
        let line = parsed(
            "a \"message\"\nof two lines \u{1}",
            &[("machines", &3), ("@level", &7), ("é", &"\\")],
        );
        assert_eq!(
            line,
            serde_json::json!({
                "@level": "warn", "@message": "a \"message\"\nof two lines \u{fffd}", "@module": "provider",
                "@timestamp": "1970-01-01T00:00:00.000000Z", "machines": "3", "level": "7", "é": "\\",
            })
        );
    }

    #[test]
    fn whatever_is_said_fits_in_a_line() {
        let long = ["x", "\"", "\u{1}", "é", "😀", "\n"].map(|text| text.repeat(100 << 10));
        for text in &long {
            let line = parsed(text, &[("field", text)]);
            assert!(line["@message"].as_str().unwrap().ends_with('…'));
            assert!(line["field"].as_str().unwrap().ends_with('…'));
            let many: Vec<Field<'_>> = (0..40)
                .map(|_| (text.as_str(), text as &dyn Display))
                .collect();
            parsed(text, &many);
        }
    }

    #[test]
    fn time_is_civil() {
        for (secs, micros, wanted) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, 1, "2000-02-28T23:59:59.000001Z"),
            (951_782_400, 0, "2000-02-29T00:00:00.000000Z"),
            (951_868_800, 999_999, "2000-03-01T00:00:00.999999Z"),
            (1_767_323_045, 6, "2026-01-02T03:04:05.000006Z"),
            (4_107_542_399, 0, "2100-02-28T23:59:59.000000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z"),
        ] {
            let now = SystemTime::UNIX_EPOCH + Duration::new(secs, micros * 1_000);
            assert_eq!(timestamp(now), wanted);
        }
    }

    #[test]
    fn the_nearest_variable_sets_the_level() {
        let asked = |module, variables: &[(&str, &str)]| {
            threshold(module, &|name| {
                variables
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| (*value).to_owned())
            })
        };
        for (variables, provider, sdk) in [
            (&[][..], OFF, OFF),
            (&[("TF_LOG", "off")], OFF, OFF),
            (&[("TF_LOG", "info")], 3, 3),
            (&[("TF_LOG", "JSON")], 1, 1),
            (&[("TF_LOG", "yes")], 1, 1),
            (&[("TF_LOG", "")], OFF, OFF),
            (&[("TF_LOG", "ERROR"), ("TF_LOG_PROVIDER", "Debug")], 2, 2),
            (
                &[("TF_LOG", "error"), ("TF_LOG_PROVIDER_FLATCAR", "warn")],
                4,
                4,
            ),
            (&[("TF_LOG", "warn"), ("TF_LOG_SDK", "trace")], 4, 1),
            (&[("TF_LOG_CORE", "trace")], OFF, OFF),
        ] {
            assert_eq!(
                asked(Module::Provider, variables),
                provider,
                "{variables:?}"
            );
            assert_eq!(asked(Module::Sdk, variables), sdk, "{variables:?}");
        }
    }

    #[test]
    fn a_panic_is_expected_only_inside_the_call_that_may() {
        assert!(expecting_panics(|| assert!(panics_are_expected())).is_ok());
        assert!(expecting_panics(|| panic!("as some input makes it")).is_err());
        assert!(!panics_are_expected());
    }

    #[test]
    fn a_panic_does_not_repeat_the_text_that_was_sliced() {
        assert_eq!(
            without_quoted(
                "byte index 5 is not a char boundary; it is inside 'é' of `hunter2 é `x` `[...]"
            ),
            "byte index 5 is not a char boundary; it is inside 'é' of `...`[...]"
        );
        assert_eq!(without_quoted("no quotes"), "no quotes");
    }
}
