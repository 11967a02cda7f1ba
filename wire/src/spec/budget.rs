//! How much a body may hold, before anything is made of it.
//!
//! A JSON value takes many times the bytes of its text: a megabyte of `[1],[1],…` becomes a hundred. So the values are counted first, in one
//! pass that keeps nothing. Numbers by the million belong into a dataset, which is read as it arrives.

/// Most values of a submit; an array or object counts as four.
pub const MOST_VALUES: usize = 150_000;
/// Most bytes of one number or text.
const LONGEST_VALUE: usize = 256 << 10;

/// What a body has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    #[error("has more than {0} values")]
    Values(usize),
    #[error("has a number or a text of more than {LONGEST_VALUE} bytes")]
    Value,
}

/// Whether `body` has at most so many values and none that is too long, as far as its brackets, commas and quotation marks tell: it need
/// not be JSON.
pub fn check(body: &[u8], most_values: usize) -> Result<(), TooMuch> {
    let (mut values, mut length) = (1usize, 0usize);
    let (mut in_text, mut escaped) = (false, false);
    for byte in body {
        length += 1;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => (in_text, length) = (!in_text, 0),
            _ if in_text => {}
            b',' => (values, length) = (values + 1, 0),
            b'[' | b'{' => (values, length) = (values + 4, 0),
            b' ' | b'\t' | b'\n' | b'\r' => length = 0,
            _ => {}
        }
        if length > LONGEST_VALUE {
            return Err(TooMuch::Value);
        }
    }
    if values > most_values { Err(TooMuch::Values(most_values)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_VALUE, TooMuch, check};

    #[test]
    fn values_are_counted_and_texts_are_not_looked_into() {
        for (body, values) in [(&b"1"[..], 1), (b"[1,2,3]", 7), (br#"{"a":"[,,\",{","b":[]}"#, 10), (b"", 1)] {
            assert_eq!(check(body, values), Ok(()));
            assert_eq!(check(body, values - 1), Err(TooMuch::Values(values - 1)));
        }
    }

    #[test]
    fn a_number_or_a_text_may_be_so_long_and_white_space_as_long_as_it_likes() {
        let digits = "9".repeat(LONGEST_VALUE);
        assert_eq!(check(format!("[{digits}]").as_bytes(), 10), Err(TooMuch::Value));
        assert_eq!(check(format!("[\"x{digits}\"]").as_bytes(), 10), Err(TooMuch::Value));
        assert_eq!(check(format!("[1{}]", " ".repeat(2 * LONGEST_VALUE)).as_bytes(), 10), Ok(()));
    }
}
