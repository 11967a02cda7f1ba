//! Sums over slices in a fixed order: eight interleaved partial sums, added pairwise at the end.
//! The compiler vectorizes them without reordering, so the bits depend on neither threads nor
//! instruction set.

const LANES: usize = 8;

/// `aᵀb`.
///
/// # Panics
/// If the lengths differ.
#[inline]
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "vectors of a product have one length");
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut partial = [0.0; LANES];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            partial[lane] += a[lane] * b[lane];
        }
    }
    for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        partial[lane] += a * b;
    }
    let [p0, p1, p2, p3, p4, p5, p6, p7] = partial;
    ((p0 + p4) + (p2 + p6)) + ((p1 + p5) + (p3 + p7))
}

/// `y ← y + factor·x`.
///
/// # Panics
/// If the lengths differ.
#[inline]
pub fn add_scaled(y: &mut [f64], factor: f64, x: &[f64]) {
    assert_eq!(y.len(), x.len(), "vectors of a sum have one length");
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}

/// `‖a‖²`.
#[inline]
pub fn square_norm(a: &[f64]) -> f64 {
    dot(a, a)
}

/// `‖a‖`.
#[inline]
pub fn norm(a: &[f64]) -> f64 {
    square_norm(a).sqrt()
}

/// `‖a − b‖`.
///
/// # Panics
/// If the lengths differ.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "vectors of a distance have one length");
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_agree_with_whole_number_arithmetic_at_every_length() {
        for length in 0..40_u32 {
            let a: Vec<f64> = (0..length).map(f64::from).collect();
            let b: Vec<f64> = (0..length).map(|i| f64::from(3 * i + 1)).collect();
            let expected: u32 = (0..length).map(|i| i * (3 * i + 1)).sum();
            assert_eq!(dot(&a, &b), f64::from(expected));
            let mut y = b.clone();
            add_scaled(&mut y, 2.0, &a);
            assert!(y.iter().enumerate().all(|(i, y)| *y == (5 * i + 1) as f64));
        }
        assert_eq!(norm(&[3.0, 4.0]), 5.0);
        assert_eq!(distance(&[1.0, 1.0], &[4.0, 5.0]), 5.0);
    }
}
