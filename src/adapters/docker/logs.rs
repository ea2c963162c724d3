//! What a runner printed, made fit for a terminal and a result.

use crate::model::is_unsafe;

/// The end of `text` within `limit` bytes: whole lines where possible, no escape sequences, no
/// control characters but line ends.
pub(super) fn tail(text: &str, limit: usize) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // A control sequence (ECMA-48) ends with a byte from @ to ~.
            '\u{1b}' if chars.next_if_eq(&'[').is_some() => {
                while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
            // Progress bars return to the start of the line.
            '\n' | '\r' if clean.ends_with('\n') => {}
            '\n' | '\r' => clean.push('\n'),
            '\t' => clean.push(' '),
            c if is_unsafe(c) => {}
            c => clean.push(c),
        }
    }
    let clean = clean.trim_matches('\n');
    let cut = clean.len().saturating_sub(limit);
    let cut = (cut..=clean.len()).find(|at| clean.is_char_boundary(*at)).unwrap_or(clean.len());
    let kept = clean.get(cut..).unwrap_or_default();
    match kept.split_once('\n') {
        Some((_, whole)) if cut > 0 => whole.to_owned(),
        _ => kept.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_and_what_could_rewrite_a_terminal_goes() {
        assert_eq!(tail("a\u{1b}[31mred\u{1b}[0m\r\nb\tc\u{7}\n\n", 100), "ared\nb c");
        assert_eq!(tail("10 %\r20 %\r", 100), "10 %\n20 %");
    }

    #[test]
    fn the_end_is_kept_in_whole_lines_and_whole_characters() {
        assert_eq!(tail("first line\nsecond\nthird", 15), "second\nthird");
        assert_eq!(tail("ééééé", 3), "é");
    }
}
