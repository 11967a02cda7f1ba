//! Text of others as text. Names, log lines and error messages come from whoever may submit or train, and a terminal obeys the control
//! characters in them: it would change its title, hide lines, or type for its user.

use std::borrow::Cow;

/// `text` with every character that a terminal obeys written out, but for ends of lines and tabs.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    escape(text, |c| is_obeyed(c) && !matches!(c, '\n' | '\t'))
}

/// As [`plain`], and in one line.
pub(crate) fn plain_line(text: &str) -> Cow<'_, str> {
    escape(text, is_obeyed)
}

/// Control characters, and those that turn the direction of what follows.
fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(text: &str, obeyed: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&obeyed) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match obeyed(c) {
            true => escaped.extend(c.escape_default()),
            false => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::{plain, plain_line};

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(plain("\u{1b}]0;owned\u{7}\u{9b}31m"), "\\u{1b}]0;owned\\u{7}\\u{9b}31m");
        assert_eq!(plain("a\r\n\tb"), "a\\r\n\tb");
        assert_eq!(plain("exe.\u{202e}gpj"), "exe.\\u{202e}gpj");
        assert_eq!(plain_line("one\ntwo"), "one\\ntwo");
        assert_eq!(plain("Größe ∞ 🦀"), "Größe ∞ 🦀");
    }
}
