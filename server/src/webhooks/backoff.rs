//! When a message that was not taken is sent again.

use std::time::Duration;

/// After the first, second, … attempt that failed; about a day together.
const DELAYS: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(3600),
    Duration::from_secs(3 * 3600),
    Duration::from_secs(5 * 3600),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(8 * 3600),
];
/// How much of a delay the jitter may add or take away.
const JITTER: f64 = 0.2;
/// No message waits longer than this for its next attempt.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(10 * 3600);

/// How long to wait after so many attempts, all of which failed; `None` where that was the last. `jitter` in [0, 1) moves the delay by up to
/// a fifth, so that receivers that were away for many are not called by all of them at once.
pub(crate) fn delay(attempts: u32, jitter: f64) -> Option<Duration> {
    let index = usize::try_from(attempts).ok()?.checked_sub(1)?;
    DELAYS.get(index).map(|delay| delay.mul_f64(1.0 + JITTER * (2.0 * jitter - 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attempts_go_on_for_about_a_day_at_growing_distances() {
        let delays: Vec<Duration> = (1..).map_while(|attempts| delay(attempts, 0.5)).collect();
        assert_eq!(delays, DELAYS);
        assert!(delays.is_sorted());
        let day = delays.iter().sum::<Duration>().as_secs_f64() / 3600.0;
        assert!((20.0..26.0).contains(&day), "{day} h");
        assert_eq!(delay(0, 0.5), None);
    }

    #[test]
    fn the_jitter_moves_a_delay_by_a_fifth_at_most() {
        for attempts in 1..=DELAYS.len() as u32 {
            let (least, most) = (delay(attempts, 0.0).unwrap(), delay(attempts, 1.0).unwrap());
            let middle = DELAYS[attempts as usize - 1];
            assert_eq!((least, most), (middle.mul_f64(0.8), middle.mul_f64(1.2)));
            assert!(most <= LONGEST_DELAY);
        }
    }
}
