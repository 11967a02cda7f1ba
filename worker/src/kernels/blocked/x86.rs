//! AVX-512 and AVX2 registers.

use std::arch::x86_64::*;

use super::vector::{Lanes, Vector};

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
    unsafe fn transpose_octets(from: *const f32, from_step: usize, into: *mut f32, into_step: usize) {
        // SAFETY: the caller vouches for the instruction set and the pointers.
        unsafe { transpose_octets(from, from_step, into, into_step) }
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
    unsafe fn transpose_octets(from: *const f32, from_step: usize, into: *mut f32, into_step: usize) {
        // SAFETY: the caller vouches for the instruction set and the pointers.
        unsafe { transpose_octets(from, from_step, into, into_step) }
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

/// One AVX register: eight lanes, from wherever a pointer to the half of some [`Lanes`] points.
#[derive(Clone, Copy)]
pub(in crate::kernels::blocked) struct Half(__m256);

// SAFETY: used only by functions compiled for AVX2 and FMA, see `Isa`.
#[allow(unsafe_code)]
unsafe impl Vector for Half {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { Self(_mm256_setzero_ps()) }
    }
    #[inline(always)]
    unsafe fn load(from: *const Lanes) -> Self {
        let from: *const f32 = from.cast();
        // SAFETY: the caller vouches for the pointer; half of a vector is aligned like a register.
        unsafe { Self(_mm256_load_ps(from)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut Lanes) {
        let to: *mut f32 = to.cast();
        // SAFETY: as for `load`.
        unsafe { _mm256_store_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn broadcast(from: *const f32) -> Self {
        // SAFETY: the caller vouches for the pointer.
        let value = unsafe { _mm256_set1_ps(*from) };
        Self(value)
    }
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { Self(_mm256_fmadd_ps(a.0, b.0, self.0)) }
    }
    #[inline(always)]
    unsafe fn add(self, a: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { Self(_mm256_add_ps(self.0, a.0)) }
    }
    #[inline(always)]
    unsafe fn sub(self, a: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { Self(_mm256_sub_ps(self.0, a.0)) }
    }
    #[inline(always)]
    unsafe fn mul(self, a: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { Self(_mm256_mul_ps(self.0, a.0)) }
    }
    #[inline(always)]
    unsafe fn div(self, a: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { Self(_mm256_div_ps(self.0, a.0)) }
    }
    #[inline(always)]
    unsafe fn max(self, a: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { Self(_mm256_max_ps(self.0, a.0)) }
    }
    #[inline(always)]
    unsafe fn gate(self, gate: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { Self(_mm256_and_ps(self.0, _mm256_cmp_ps::<_CMP_NLE_UQ>(gate.0, _mm256_setzero_ps()))) }
    }
    #[inline(always)]
    unsafe fn where_greater(self, a: Self, b: Self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { Self(_mm256_blendv_ps(other.0, self.0, _mm256_cmp_ps::<_CMP_GT_OQ>(a.0, b.0))) }
    }
    #[inline(always)]
    unsafe fn where_equal(self, a: Self, b: Self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { Self(_mm256_blendv_ps(other.0, self.0, _mm256_cmp_ps::<_CMP_EQ_OQ>(a.0, b.0))) }
    }
    #[inline(always)]
    unsafe fn transpose_octets(from: *const f32, from_step: usize, into: *mut f32, into_step: usize) {
        // SAFETY: the caller vouches for the instruction set and the pointers.
        unsafe { transpose_octets(from, from_step, into, into_step) }
    }
    #[inline(always)]
    unsafe fn power_of_two(self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let bias = _mm256_set1_epi32(127);
            let low = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_castps_si256(self.0), bias));
            Self(_mm256_castsi256_ps(low))
        }
    }
}

/// # Safety
/// On a processor that has AVX; eight numbers can be read and written in each of eight rows, which start at multiples of
/// 32 bytes.
#[inline(always)]
#[allow(unsafe_code, clippy::inline_always)]
unsafe fn transpose_octets(from: *const f32, from_step: usize, into: *mut f32, into_step: usize) {
    // SAFETY: the caller's.
    unsafe {
        let mut rows = [_mm256_setzero_ps(); 8];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = _mm256_load_ps(from.add(r * from_step));
        }
        // Pairs of rows, then pairs of pairs, in each half; then the halves.
        let mut pairs = rows;
        for r in (0..8).step_by(2) {
            pairs[r] = _mm256_unpacklo_ps(rows[r], rows[r + 1]);
            pairs[r + 1] = _mm256_unpackhi_ps(rows[r], rows[r + 1]);
        }
        let mut fours = rows;
        for r in (0..8).step_by(4) {
            fours[r] = _mm256_shuffle_ps::<0x44>(pairs[r], pairs[r + 2]);
            fours[r + 1] = _mm256_shuffle_ps::<0xee>(pairs[r], pairs[r + 2]);
            fours[r + 2] = _mm256_shuffle_ps::<0x44>(pairs[r + 1], pairs[r + 3]);
            fours[r + 3] = _mm256_shuffle_ps::<0xee>(pairs[r + 1], pairs[r + 3]);
        }
        for c in 0..4 {
            _mm256_store_ps(into.add(c * into_step), _mm256_permute2f128_ps::<0x20>(fours[c], fours[c + 4]));
            _mm256_store_ps(into.add((c + 4) * into_step), _mm256_permute2f128_ps::<0x31>(fours[c], fours[c + 4]));
        }
    }
}
