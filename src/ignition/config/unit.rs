//! Systemd units as the reference reads them: whether they parse, its words if not, and which
//! sections have an option.
//!
//! `"[Install]\nWantedBy=multi-user.target\n"` has `Install`; `"[Install]\n"` has not.
//!
//! Source: the facts about Ignition 2.26 and go-systemd 22 (section 12.4).

use crate::text::go::quote;

/// What validation asks about the text of a unit.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Whether a section `Install` has an option.
    pub(crate) installs: bool,
}

/// Reads a unit or drop-in.
/// # Errors
/// The reference's words, without its `invalid unit content: `.
pub(crate) fn parse(text: &str) -> Result<Unit, String> {
    let mut reader = Reader::over(text);
    let mut unit = Unit::default();
    let mut step = Step::BeforeSection;
    loop {
        reader.check_line()?;
        step = match step {
            Step::BeforeSection => match reader.char() {
                None => return Ok(unit),
                Some('[') => Step::SectionName,
                Some('#' | ';') => Step::Comment {
                    before_section: true,
                    installs: false,
                },
                Some(_) => Step::BeforeSection,
            },
            Step::SectionName => {
                let name = reader.until(b']');
                let name = name
                    .strip_suffix("]")
                    .ok_or("unable to find end of section")?;
                Step::SectionEnd {
                    installs: name == "Install",
                }
            }
            Step::SectionEnd { installs } => {
                let garbage = reader.line().trim();
                if !garbage.is_empty() {
                    // The reference wants to name the section here, and leaves it out.
                    return Err(format!(
                        "found garbage after section name : {}",
                        quote(garbage)
                    ));
                }
                Step::InSection { installs }
            }
            Step::Comment {
                before_section,
                installs,
            } => {
                loop {
                    let line = reader.line();
                    if !line.strip_suffix(' ').unwrap_or(line).ends_with('\\') {
                        break;
                    }
                }
                if before_section {
                    Step::BeforeSection
                } else {
                    Step::InSection { installs }
                }
            }
            Step::InSection { installs } => match reader.peek_char() {
                None => return Ok(unit),
                Some('[') => {
                    reader.char();
                    Step::SectionName
                }
                Some('#' | ';') => {
                    reader.char();
                    Step::Comment {
                        before_section: false,
                        installs,
                    }
                }
                Some(blank) if blank.is_whitespace() => {
                    reader.char();
                    Step::InSection { installs }
                }
                Some(_) => Step::OptionName { installs },
            },
            Step::OptionName { installs } => loop {
                match reader.char() {
                    None => return Err("EOF".into()),
                    Some('\n' | '\r') => {
                        return Err(
                            "unexpected newline encountered while parsing option name".into()
                        );
                    }
                    Some('=') => break Step::OptionValue { installs },
                    Some(_) => {}
                }
            },
            Step::OptionValue { installs } => {
                let line = reader.line();
                if line.ends_with('\\') && !line.trim().is_empty() {
                    Step::OptionValue { installs }
                } else {
                    unit.installs |= installs;
                    Step::InSection { installs }
                }
            }
        };
    }
}

/// Where the reader stands. `installs`: in a section `Install`.
enum Step {
    BeforeSection,
    SectionName,
    SectionEnd {
        installs: bool,
    },
    Comment {
        before_section: bool,
        installs: bool,
    },
    InSection {
        installs: bool,
    },
    OptionName {
        installs: bool,
    },
    OptionValue {
        installs: bool,
    },
}

/// A text read through a buffer of 4096 bytes. What is in the buffer shows in one error: a line is
/// too long if there are 2048 bytes of it in the buffer at the start of a step, so a longer one may
/// pass.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// The end of what is buffered.
    buffered: usize,
    /// Where the last line break is that was looked for: at most `LINE` bytes after where it was
    /// looked for.
    next_break: usize,
}

const BUFFER: usize = 4096;
const LINE: usize = 2048;

impl<'a> Reader<'a> {
    fn over(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            buffered: 0,
            next_break: 0,
        }
    }

    fn check_line(&mut self) -> Result<(), String> {
        if self.buffered - self.at < LINE || self.next_break >= self.at {
            return Ok(());
        }
        let line = &self.text.as_bytes()[self.at..self.at + LINE];
        match line.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            Some(position) => {
                self.next_break = self.at + position;
                Ok(())
            }
            None => Err(format!("line too long (max {LINE} bytes)")),
        }
    }

    /// Fills the rest of the buffer, once what was read has moved out of it.
    fn fill(&mut self) {
        self.buffered = self.text.len().min(self.at + BUFFER);
    }

    fn peek_char(&mut self) -> Option<char> {
        let next = self.text[self.at..].chars().next()?;
        if self.at + next.len_utf8() > self.buffered {
            self.fill();
        }
        Some(next)
    }

    fn char(&mut self) -> Option<char> {
        let next = self.peek_char()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Up to and with `end`, or to the end of the text.
    fn until(&mut self, end: u8) -> &'a str {
        let rest = &self.text[self.at..];
        let length = rest
            .bytes()
            .position(|byte| byte == end)
            .map_or(rest.len(), |found| found + 1);
        let after = self.at + length;
        while after > self.buffered {
            // A full buffer is taken out whole; one that is not full is filled.
            if self.buffered - self.at >= BUFFER {
                self.at = self.buffered;
            }
            self.fill();
        }
        self.at = after;
        &rest[..length]
    }

    /// The rest of the line, without its line feed (a carriage return before that stays).
    fn line(&mut self) -> &'a str {
        let line = self.until(b'\n');
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.strip_suffix('\n').unwrap_or(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        text: String,
        error: Option<String>,
        installs: bool,
    }

    #[test]
    fn units_are_read_as_the_reference_reads_them() {
        let own = include_str!("../../../tests/fixtures/ignition/units.json");
        let cases: Vec<Case> = serde_json::from_str(own).expect("fixtures are JSON");
        let different: Vec<_> = cases
            .iter()
            .filter_map(|case| {
                let got = parse(&case.text);
                let same = got.as_ref().err() == case.error.as_ref()
                    && got.as_ref().is_ok_and(|unit| unit.installs) == case.installs;
                (!same).then_some((&case.text, got, &case.error))
            })
            .collect();
        assert!(different.is_empty(), "of {}: {different:#?}", cases.len());
    }
}
