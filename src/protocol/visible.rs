//! Text from outside, made fit to be shown: what a cloud, a console, a server or a file says may
//! hold what a terminal obeys, what turns the order of letters round, and what nobody sees.
//!
//! In: `"\u{1b}[31mno disk\u{7}"`. Out: `"no disk\u{fffd}"`. Line feeds and tabs stay in
//! [`visible`], and become blanks in [`one_line`].
//! See: ECMA-48, 5th edition, chapter 5.4; Unicode 16, "Default_Ignorable_Code_Point" and
//! "Bidi_Control".

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

/// Sequences that a terminal obeys are left out; each other character that is not seen becomes
/// U+FFFD.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(|letter| is_hidden(letter) && !is_space(letter)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => skip_sequence(&mut letters),
            '\u{9b}' => skip_control(&mut letters),
            // A console ends its lines so, and draws over them so.
            '\r' => {
                letters.next_if_eq(&'\n');
                out.push('\n');
            }
            letter if is_hidden(letter) && !is_space(letter) => {
                out.push(char::REPLACEMENT_CHARACTER)
            }
            letter => out.push(letter),
        }
    }
    Cow::Owned(out)
}

/// The same in one line.
pub fn one_line(text: &str) -> Cow<'_, str> {
    match visible(text) {
        text if text.contains(is_space) => Cow::Owned(text.replace(is_space, " ")),
        text => text,
    }
}

/// At most so many characters; that there were more is said.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => Cow::Borrowed(text),
        Some((end, _)) => {
            let (kept, rest) = text.split_at(end);
            Cow::Owned(format!(
                "{kept}… ({} more characters)",
                rest.chars().count()
            ))
        }
    }
}

/// Words without a full stop. Parsers quote what they did not expect, and that may be a secret.
pub fn without_values(words: &str) -> String {
    let mut inside = false;
    let mut clean = String::new();
    for part in words.split('"') {
        clean += if inside { "…" } else { part };
        inside = !inside;
    }
    clean.trim_end_matches('.').to_owned()
}

/// Whether nobody sees this character, or sees what it does to others.
pub fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

fn is_space(letter: char) -> bool {
    matches!(letter, '\n' | '\t')
}

/// What follows an escape: a control sequence, a string up to its end, or one letter. An end that
/// is not in sight is not looked for: the text goes on.
fn skip_sequence(letters: &mut Peekable<Chars<'_>>) {
    match letters.peek() {
        Some('[') => {
            letters.next();
            skip_control(letters);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            letters.next();
            let mut ahead = letters.clone();
            let string = ahead.by_ref().take(LONGEST_STRING);
            let end = string
                .take_while(|letter| *letter != '\n')
                .position(|letter| matches!(letter, '\u{7}' | '\u{1b}' | '\u{9c}'));
            if let Some(end) = end {
                let last = letters.nth(end);
                if last == Some('\u{1b}') {
                    letters.next_if_eq(&'\\');
                }
            }
        }
        Some(' '..='~') => {
            letters.next();
        }
        _ => {}
    }
}

/// Parameters, and the letter that ends a control sequence.
fn skip_control(letters: &mut Peekable<Chars<'_>>) {
    while letters
        .next_if(|letter| (' '..='?').contains(letter))
        .is_some()
    {}
    letters.next_if(|letter| ('@'..='~').contains(letter));
}

/// Titles and links are no longer.
const LONGEST_STRING: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_left_out_and_what_nobody_sees_is_marked() {
        for (text, shown) in [
            (
                "plain, with ümlauts and 日本",
                "plain, with ümlauts and 日本",
            ),
            ("two\nlines\tand a tab", "two\nlines\tand a tab"),
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;a title\u{7}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}]never ended", "never ended"),
            (
                "\u{1b}]ended\nin the next line\u{7}",
                "ended\nin the next line\u{fffd}",
            ),
            ("\u{1b}Mup, \u{1b}", "up, "),
            ("\u{9b}2Jcleared", "cleared"),
            (
                "a\u{8}b\u{7f}c\u{0}d\u{85}e",
                "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e",
            ),
            ("\u{202e}txt.exe\u{2066}", "\u{fffd}txt.exe\u{fffd}"),
            ("zero\u{200b}width\u{feff}", "zero\u{fffd}width\u{fffd}"),
            ("10%\r20%\r\ndone", "10%\n20%\ndone"),
        ] {
            assert_eq!(visible(text), shown, "{text:?}");
        }
        assert_eq!(one_line("a\r\nb\tc\u{7}"), "a b c\u{fffd}");
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        assert_eq!(cut("häuser", 6), "häuser");
        assert_eq!(cut("häuser", 2), "hä… (4 more characters)");
        assert_eq!(cut("", 0), "");
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left_whatever_came(text in "[\\PC\\x00-\\x1f\u{1b}\u{9b}\u{202e}\\[\\];a]{0,200}") {
            let shown = visible(&text);
            prop_assert!(!shown.contains(|letter| is_hidden(letter) && !is_space(letter)), "{shown:?}");
            prop_assert_eq!(visible(&shown), &*shown);
            prop_assert!(!one_line(&text).contains(is_hidden));
        }
    }

    #[test]
    fn what_a_parser_quotes_is_left_out() {
        assert_eq!(
            without_values(r#"invalid type: string "hunter2", expected a map for key `auth`"#),
            "invalid type: string …, expected a map for key `auth`"
        );
    }
}
