//! Names that mean something else than a file on some system.

/// Whether a file of this name would be a device on Windows (`con`, `nul.txt`, `COM1.`), so that nobody who downloads it there writes
/// into one.
pub(crate) fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let numbered = |prefix| stem.strip_prefix(prefix).is_some_and(|number| matches!(number.as_bytes(), [b'0'..=b'9']));
    matches!(stem.as_str(), "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt")
}

#[cfg(test)]
mod tests {
    use super::is_device;

    #[test]
    fn devices_are_known_in_any_case_and_with_any_ending() {
        for name in ["CON", "nul", "Aux.txt", "com1", "LPT9.tar.gz", "prn."] {
            assert!(is_device(name), "{name}");
        }
        for name in ["console", "null", "com", "com10", "lpt", "x.con", "", ".con", "cons"] {
            assert!(!is_device(name), "{name}");
        }
    }
}
