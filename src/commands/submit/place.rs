//! Where in a JSON text the value of a JSON pointer stands, so that an error can show the line.

use std::collections::HashMap;

use serde_json::value::RawValue;

/// Longest line to show, in characters before and after the place.
const AROUND: usize = 50;

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// The beginning of the value at an RFC 6901 pointer, or of the innermost one around it that is there.
pub(super) fn of_pointer(text: &str, pointer: &str) -> Option<Place> {
    let mut value: &RawValue = serde_json::from_str(text).ok()?;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        match inside(value, &part) {
            Some(inner) => value = inner,
            None => break,
        }
    }
    // The raw value is a piece of the text.
    let offset = value.get().as_ptr() as usize - text.as_ptr() as usize;
    let before = text.get(..offset)?;
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    Some(Place { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 })
}

fn inside<'a>(value: &'a RawValue, part: &str) -> Option<&'a RawValue> {
    if value.get().starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
        return items.get(part.parse::<usize>().ok()?).copied();
    }
    let mut fields: HashMap<String, &RawValue> = serde_json::from_str(value.get()).ok()?;
    fields.remove(part)
}

/// The line of a place with a mark under it; of a long line, what is around it.
pub(super) fn shown(text: &str, place: Place) -> String {
    let line: Vec<char> = text.lines().nth(place.line - 1).unwrap_or_default().chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
    let column = place.column - 1;
    let first = column.saturating_sub(AROUND);
    let last = line.len().min(column + AROUND);
    let piece: String = line.get(first..last).unwrap_or_default().iter().collect();
    let trimmed = piece.trim_start();
    let indent = column - first - (piece.chars().count() - trimmed.chars().count()).min(column - first);
    let number = place.line.to_string();
    format!("{number} | {}\n{:width$} | {:indent$}^", trimmed.trim_end(), "", "", width = number.len())
}

#[cfg(test)]
mod tests {
    use super::{Place, of_pointer, shown};

    const JOB: &str = "{\n  \"a/b\": {\"x~\": [1, 22, {\"ä\": \"ö\", \"k\": 0}]},\n\t\"spec\": {}\n}";

    #[test]
    fn a_pointer_leads_to_its_value() {
        assert_eq!(of_pointer(JOB, "/a~1b/x~0/1"), Some(Place { line: 2, column: 21 }));
        assert_eq!(of_pointer(JOB, "/a~1b/x~0/2/k"), Some(Place { line: 2, column: 41 }));
        assert_eq!(of_pointer(JOB, "/spec"), Some(Place { line: 3, column: 10 }));
        assert_eq!(of_pointer(JOB, ""), Some(Place { line: 1, column: 1 }));
    }

    #[test]
    fn what_is_missing_is_looked_for_where_it_should_stand() {
        assert_eq!(of_pointer(JOB, "/spec/kind"), Some(Place { line: 3, column: 10 }));
        assert_eq!(of_pointer(JOB, "/a~1b/x~0/9"), Some(Place { line: 2, column: 17 }));
        assert_eq!(of_pointer("no json", "/a"), None);
    }

    #[test]
    fn the_line_is_shown_with_a_mark_under_the_place() {
        assert_eq!(shown(JOB, Place { line: 3, column: 10 }), "3 | \"spec\": {}\n  |         ^");
        let long = format!("[{}7{}]", "1, ".repeat(100), ", 1".repeat(100));
        let text = shown(&long, Place { line: 1, column: 302 });
        let (line, mark) = text.split_once('\n').unwrap();
        assert!(line.len() < 110 && line.chars().nth(mark.chars().count() - 1) == Some('7'), "{text}");
    }
}
