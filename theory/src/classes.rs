//! What predictors come to that know the classes' frequencies and never look at a picture: what every network has to beat.

/// The most frequent class (the first of equals) and its share of all, which is the accuracy of whoever always says it; `None` where nothing was
/// counted.
pub fn majority(counts: &[u64]) -> Option<(usize, f64)> {
    let total: u64 = counts.iter().sum();
    let most = counts.iter().copied().max().filter(|most| *most > 0)?;
    let class = counts.iter().position(|count| *count == most)?;
    Some((class, most as f64 / total as f64))
}

/// The cross-entropy, in nats, of a predictor whose probabilities are always the frequencies in `known`, on examples whose classes are counted
/// in `seen`: `−Σ_k (seen_k/Σ seen)·ln(known_k/Σ known)`, the entropy of the frequencies where both are the same. ∞ where a class is seen
/// that was not known; NaN where nothing was counted.
pub fn cross_entropy_of_frequencies(known: &[u64], seen: &[u64]) -> f64 {
    let total = |counts: &[u64]| counts.iter().sum::<u64>() as f64;
    let (of_known, of_seen) = (total(known), total(seen));
    if of_known == 0.0 || of_seen == 0.0 {
        return f64::NAN;
    }
    let terms = known.iter().zip(seen).filter(|(_, seen)| **seen > 0);
    terms.map(|(known, seen)| *seen as f64 / of_seen * (of_known / *known as f64).ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_majority_is_the_first_of_the_most_frequent_classes() {
        assert_eq!(majority(&[1, 3, 3, 1]), Some((1, 3.0 / 8.0)));
        assert_eq!(majority(&[0, 0]), None);
        assert_eq!(majority(&[]), None);
    }

    #[test]
    fn frequencies_that_are_right_have_their_entropy_and_others_more() {
        let uniform = cross_entropy_of_frequencies(&[5; 4], &[7, 7, 7, 7]);
        assert!((uniform - 4.0_f64.ln()).abs() < 1e-15);
        let entropy = cross_entropy_of_frequencies(&[3, 1], &[3, 1]);
        assert!((entropy - (0.75 * (4.0_f64 / 3.0).ln() + 0.25 * 4.0_f64.ln())).abs() < 1e-15);
        assert!(cross_entropy_of_frequencies(&[1, 1], &[3, 1]) > entropy);
    }

    #[test]
    fn a_class_that_was_not_known_costs_without_bound_and_one_that_is_not_seen_nothing() {
        assert_eq!(cross_entropy_of_frequencies(&[4, 0], &[1, 1]), f64::INFINITY);
        assert!((cross_entropy_of_frequencies(&[1, 1], &[9, 0]) - 2.0_f64.ln()).abs() < 1e-15);
        assert!(cross_entropy_of_frequencies(&[], &[]).is_nan());
    }
}
