//! A curve in one line of text.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// From this ratio of the greatest to the least positive value on, heights are logarithms.
const WIDE: f64 = 100.0;

/// A character a value, its height between the least and the greatest; `!` where a value is not finite.
pub(crate) fn sparkline(values: &[f64]) -> String {
    let bounds = |values: &mut dyn Iterator<Item = f64>| values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (least, greatest) = bounds(&mut finite());
    let is_wide = least > 0.0 && greatest / least > WIDE;
    let scale = |value: f64| if is_wide { value.ln() } else { value };
    let (low, high) = (scale(least), scale(greatest));
    let height = |value: f64| {
        let share = if high > low { (scale(value) - low) / (high - low) } else { 0.0 };
        BARS[((share * BARS.len() as f64) as usize).min(BARS.len() - 1)]
    };
    values.iter().map(|value| if value.is_finite() { height(*value) } else { '!' }).collect()
}

#[cfg(test)]
mod tests {
    use super::sparkline;

    #[test]
    fn heights_go_from_the_least_to_the_greatest() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&[3.0, 3.0]), "▁▁");
        assert_eq!(sparkline(&[]), "");
    }

    #[test]
    fn a_loss_over_many_orders_of_magnitude_is_drawn_in_logarithms() {
        assert_eq!(sparkline(&[1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7]), "█▇▆▅▄▃▂▁");
    }

    #[test]
    fn what_is_not_finite_is_marked_and_spoils_nothing() {
        assert_eq!(sparkline(&[0.0, f64::NAN, 7.0, f64::INFINITY]), "▁!█!");
        assert_eq!(sparkline(&[f64::NAN]), "!");
    }
}
