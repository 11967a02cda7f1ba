//! Times and sizes as people write them.

/// `90`, `90s`, `15m`, `12h` or `30d` in seconds, more than 0.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let factor = |unit: &str| match unit {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    whole_number(text, factor, "s, m, h or d")
}

/// `500000`, `500kB`, `10GB` or `2GiB` in bytes, more than 0.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let factor = |unit: &str| match unit {
        "" | "B" => Some(1),
        "kB" | "KB" => Some(1000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        "TB" => Some(1_000_000_000_000),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        "TiB" => Some(1 << 40),
        _ => None,
    };
    whole_number(text, factor, "B, kB, MB, GB, TB, KiB, MiB, GiB or TiB")
}

fn whole_number(text: &str, factor: impl Fn(&str) -> Option<u64>, units: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let (Some(factor), false) = (factor(unit), number.is_empty()) else {
        return Err(format!("must be a whole number with the unit {units}"));
    };
    // Digits alone: what does not parse is too large.
    let product = number.parse().ok().and_then(|number: u64| number.checked_mul(factor));
    product.filter(|product| *product > 0).ok_or_else(|| "is out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{bytes, seconds};

    #[test]
    fn times_have_a_unit() {
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("15m"), Ok(900));
        assert_eq!(seconds("30d"), Ok(2_592_000));
        for bad in ["", "d", "1w", "-1s", "0", "99999999999999999999d", "1.5h"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_have_a_decimal_or_a_binary_unit() {
        assert_eq!(bytes("10GB"), Ok(10_000_000_000));
        assert_eq!(bytes("2GiB"), Ok(2 << 30));
        assert_eq!(bytes("512"), Ok(512));
        for bad in ["", "GB", "1gb", "0", "1.5GB", "99999999TB", "10 GB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
