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
    }
}
