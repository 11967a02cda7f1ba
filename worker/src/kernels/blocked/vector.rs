//! Sixteen images side by side, and the register types that hold them.

/// Images in a block.
pub const LANES: usize = 16;

/// One number of each of sixteen images; a cache line.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct Lanes(pub [f32; LANES]);

impl Lanes {
    /// All zero.
    pub const ZERO: Self = Self([0.0; LANES]);

    /// One value in all lanes.
    #[must_use]
    pub const fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    /// Sum of the first `live` lanes in f64, in order.
    #[must_use]
    pub fn sum(&self, live: usize) -> f64 {
        self.0.iter().take(live).map(|&value| f64::from(value)).sum()
    }
}

/// The numbers of some vectors, one after the other.
#[must_use]
pub fn numbers(lanes: &[Lanes]) -> &[f32] {
    // SAFETY: `Lanes` is an array of floats and nothing else, so a slice of them is one of floats.
    #[allow(unsafe_code)]
    unsafe {
        std::slice::from_raw_parts(lanes.as_ptr().cast(), lanes.len() * LANES)
    }
}

/// As [`numbers`], to write.
#[must_use]
pub fn numbers_mut(lanes: &mut [Lanes]) -> &mut [f32] {
    // SAFETY: as for `numbers`; the borrow is the only one.
    #[allow(unsafe_code)]
    unsafe {
        std::slice::from_raw_parts_mut(lanes.as_mut_ptr().cast(), lanes.len() * LANES)
    }
}

/// Asks for the cache lines of `part`-th of `parts` of a slice, ahead of their use. Nothing is read, so the hint has no
/// effect on what is computed.
#[inline]
pub(super) fn prefetch(lines: &[Lanes], part: usize, parts: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in &lines[lines.len() * part / parts..lines.len() * (part + 1) / parts] {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: every x86-64 processor has the instruction, which cannot fault.
        #[allow(unsafe_code)]
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(line).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (lines, part, parts);
}

/// Registers that hold [`Lanes`].
///
/// # Safety
/// Every function may be called only where the processor has the implementor's instruction set, and with pointers that
/// are valid for what the name says.
#[allow(unsafe_code)]
pub(super) unsafe trait Vector: Copy {
    /// All zero.
    unsafe fn zero() -> Self;
    /// Reads a cache line.
    unsafe fn load(from: *const Lanes) -> Self;
    /// Writes a cache line.
    unsafe fn store(self, to: *mut Lanes);
    /// Reads one number into all lanes.
    unsafe fn broadcast(from: *const f32) -> Self;
    /// `self + a·b`.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// `self + a`.
    unsafe fn add(self, a: Self) -> Self;
    /// `self − a`.
    unsafe fn sub(self, a: Self) -> Self;
    /// `self·a`.
    unsafe fn mul(self, a: Self) -> Self;
    /// `self/a`.
    unsafe fn div(self, a: Self) -> Self;
    /// The larger of the two; `a` where `self` or `a` is NaN.
    unsafe fn max(self, a: Self) -> Self;
    /// `self`, but 0 where `gate ≤ 0`; a NaN in the gate lets through.
    unsafe fn gate(self, gate: Self) -> Self;
    /// `self` where `a > b`, else `other`.
    unsafe fn where_greater(self, a: Self, b: Self, other: Self) -> Self;
    /// `self` where `a = b`, else `other`.
    unsafe fn where_equal(self, a: Self, b: Self, other: Self) -> Self;
    /// `2ⁿ` of an integer n in −126..=127, given as `n + 1.5·2²³`.
    unsafe fn power_of_two(self) -> Self;
    /// One number in all lanes.
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: a reference is a valid pointer; the caller vouches for the instruction set.
        unsafe { Self::broadcast(&raw const value) }
    }
    /// Transposes eight rows of eight numbers; rows start at multiples of 32 bytes, steps are between rows.
    #[inline(always)]
    unsafe fn transpose_octets(from: *const f32, from_step: usize, into: *mut f32, into_step: usize) {
        for (row, column) in (0..8).flat_map(|row| (0..8).map(move |column| (row, column))) {
            // SAFETY: the caller vouches for the pointers.
            unsafe { *into.add(column * into_step + row) = *from.add(row * from_step + column) };
        }
    }
}

// SAFETY: plain code; any processor runs it.
#[allow(unsafe_code)]
unsafe impl Vector for Lanes {
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self::ZERO
    }
    #[inline(always)]
    unsafe fn load(from: *const Lanes) -> Self {
        // SAFETY: the caller vouches for the pointer.
        unsafe { *from }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut Lanes) {
        // SAFETY: the caller vouches for the pointer.
        unsafe { *to = self };
    }
    #[inline(always)]
    unsafe fn broadcast(from: *const f32) -> Self {
        // SAFETY: the caller vouches for the pointer.
        Self::splat(unsafe { *from })
    }
    #[inline(always)]
    unsafe fn add_product(mut self, a: Self, b: Self) -> Self {
        for (s, (a, b)) in self.0.iter_mut().zip(a.0.iter().zip(&b.0)) {
            *s += a * b;
        }
        self
    }
    #[inline(always)]
    unsafe fn add(mut self, a: Self) -> Self {
        for (s, a) in self.0.iter_mut().zip(&a.0) {
            *s += a;
        }
        self
    }
    #[inline(always)]
    unsafe fn sub(self, a: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] - a.0[i]))
    }
    #[inline(always)]
    unsafe fn mul(self, a: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * a.0[i]))
    }
    #[inline(always)]
    unsafe fn div(self, a: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] / a.0[i]))
    }
    #[inline(always)]
    unsafe fn max(self, a: Self) -> Self {
        Self(std::array::from_fn(|i| if self.0[i] > a.0[i] { self.0[i] } else { a.0[i] }))
    }
    #[inline(always)]
    unsafe fn gate(self, gate: Self) -> Self {
        Self(std::array::from_fn(|i| if gate.0[i] <= 0.0 { 0.0 } else { self.0[i] }))
    }
    #[inline(always)]
    unsafe fn where_greater(self, a: Self, b: Self, other: Self) -> Self {
        Self(std::array::from_fn(|i| if a.0[i] > b.0[i] { self.0[i] } else { other.0[i] }))
    }
    #[inline(always)]
    unsafe fn where_equal(self, a: Self, b: Self, other: Self) -> Self {
        Self(std::array::from_fn(|i| if a.0[i] == b.0[i] { self.0[i] } else { other.0[i] }))
    }
    #[inline(always)]
    unsafe fn power_of_two(self) -> Self {
        // The low bits of `n + 1.5·2²³` are n; biased by 127 they are an exponent.
        Self(self.0.map(|n| f32::from_bits(n.to_bits().wrapping_add(127) << 23)))
    }
}
