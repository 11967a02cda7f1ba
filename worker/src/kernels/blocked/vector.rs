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

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    //! AVX-512 and AVX2 registers.

    use std::arch::x86_64::*;

    use super::{Lanes, Vector};

    // SAFETY: used only by functions compiled for AVX-512F, see `Isa`.
    #[allow(unsafe_code)]
    unsafe impl Vector for __m512 {
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { _mm512_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn load(from: *const Lanes) -> Self {
            // SAFETY: the caller vouches for the pointer; `Lanes` has the alignment of a register.
            unsafe { _mm512_load_ps(from.cast()) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut Lanes) {
            // SAFETY: as for `load`.
            unsafe { _mm512_store_ps(to.cast(), self) }
        }
        #[inline(always)]
        unsafe fn broadcast(from: *const f32) -> Self {
            // SAFETY: the caller vouches for the pointer.
            unsafe { _mm512_set1_ps(*from) }
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { _mm512_fmadd_ps(a, b, self) }
        }
        #[inline(always)]
        unsafe fn add(self, a: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { _mm512_add_ps(self, a) }
        }
        #[inline(always)]
        unsafe fn sub(self, a: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { _mm512_sub_ps(self, a) }
        }
        #[inline(always)]
        unsafe fn mul(self, a: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { _mm512_mul_ps(self, a) }
        }
        #[inline(always)]
        unsafe fn div(self, a: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { _mm512_div_ps(self, a) }
        }
        #[inline(always)]
        unsafe fn max(self, a: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { _mm512_max_ps(self, a) }
        }
        #[inline(always)]
        unsafe fn gate(self, gate: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLE_UQ>(gate, Self::zero()), self) }
        }
        #[inline(always)]
        unsafe fn where_greater(self, a: Self, b: Self, other: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { _mm512_mask_mov_ps(other, _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), self) }
        }
        #[inline(always)]
        unsafe fn where_equal(self, a: Self, b: Self, other: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { _mm512_mask_mov_ps(other, _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b), self) }
        }
        #[inline(always)]
        unsafe fn power_of_two(self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_add_epi32(_mm512_castps_si512(self), _mm512_set1_epi32(127)))) }
        }
    }

    /// Two AVX registers, which together hold sixteen lanes.
    #[derive(Clone, Copy)]
    pub(in crate::kernels::blocked) struct Pair(__m256, __m256);

    // SAFETY: used only by functions compiled for AVX2 and FMA, see `Isa`.
    #[allow(unsafe_code)]
    unsafe impl Vector for Pair {
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { Self(_mm256_setzero_ps(), _mm256_setzero_ps()) }
        }
        #[inline(always)]
        unsafe fn load(from: *const Lanes) -> Self {
            let from: *const f32 = from.cast();
            // SAFETY: the caller vouches for the pointer; both halves lie inside and are aligned.
            unsafe { Self(_mm256_load_ps(from), _mm256_load_ps(from.add(8))) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut Lanes) {
            let to: *mut f32 = to.cast();
            // SAFETY: as for `load`.
            unsafe {
                _mm256_store_ps(to, self.0);
                _mm256_store_ps(to.add(8), self.1);
            }
        }
        #[inline(always)]
        unsafe fn broadcast(from: *const f32) -> Self {
            // SAFETY: the caller vouches for the pointer.
            let value = unsafe { _mm256_set1_ps(*from) };
            Self(value, value)
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { Self(_mm256_fmadd_ps(a.0, b.0, self.0), _mm256_fmadd_ps(a.1, b.1, self.1)) }
        }
        #[inline(always)]
        unsafe fn add(self, a: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { Self(_mm256_add_ps(self.0, a.0), _mm256_add_ps(self.1, a.1)) }
        }
        #[inline(always)]
        unsafe fn sub(self, a: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { Self(_mm256_sub_ps(self.0, a.0), _mm256_sub_ps(self.1, a.1)) }
        }
        #[inline(always)]
        unsafe fn mul(self, a: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { Self(_mm256_mul_ps(self.0, a.0), _mm256_mul_ps(self.1, a.1)) }
        }
        #[inline(always)]
        unsafe fn div(self, a: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { Self(_mm256_div_ps(self.0, a.0), _mm256_div_ps(self.1, a.1)) }
        }
        #[inline(always)]
        unsafe fn max(self, a: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { Self(_mm256_max_ps(self.0, a.0), _mm256_max_ps(self.1, a.1)) }
        }
        #[inline(always)]
        unsafe fn gate(self, gate: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe {
                Self(
                    _mm256_and_ps(self.0, _mm256_cmp_ps::<_CMP_NLE_UQ>(gate.0, _mm256_setzero_ps())),
                    _mm256_and_ps(self.1, _mm256_cmp_ps::<_CMP_NLE_UQ>(gate.1, _mm256_setzero_ps())),
                )
            }
        }
        #[inline(always)]
        unsafe fn where_greater(self, a: Self, b: Self, other: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe {
                Self(
                    _mm256_blendv_ps(other.0, self.0, _mm256_cmp_ps::<_CMP_GT_OQ>(a.0, b.0)),
                    _mm256_blendv_ps(other.1, self.1, _mm256_cmp_ps::<_CMP_GT_OQ>(a.1, b.1)),
                )
            }
        }
        #[inline(always)]
        unsafe fn where_equal(self, a: Self, b: Self, other: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe {
                Self(
                    _mm256_blendv_ps(other.0, self.0, _mm256_cmp_ps::<_CMP_EQ_OQ>(a.0, b.0)),
                    _mm256_blendv_ps(other.1, self.1, _mm256_cmp_ps::<_CMP_EQ_OQ>(a.1, b.1)),
                )
            }
        }
        #[inline(always)]
        unsafe fn power_of_two(self) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            unsafe {
                let bias = _mm256_set1_epi32(127);
                let low = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_castps_si256(self.0), bias));
                let high = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_castps_si256(self.1), bias));
                Self(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high))
            }
        }
    }
}
