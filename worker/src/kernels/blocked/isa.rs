//! Which instruction set the kernels use.

/// An instruction set that this processor has: values come only from [`Isa::detect`] and [`Isa::available`], which is
/// what makes it sound to run code compiled for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// The first eight lanes alone, in the sixteen registers of AVX2.
    #[cfg(target_arch = "x86_64")]
    NarrowAvx2,
    /// The first eight lanes alone, in the thirty-two registers of AVX-512VL.
    #[cfg(target_arch = "x86_64")]
    NarrowAvx512,
}

impl Isa {
    /// The best one.
    #[must_use]
    pub fn detect() -> Self {
        *Self::available().last().unwrap_or(&Self(Set::Portable))
    }

    /// All of them, from the slowest to the fastest.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut sets = vec![Self(Set::Portable)];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            sets.push(Self(Set::Avx2));
            if is_x86_feature_detected!("avx512f") {
                sets.push(Self(Set::Avx512));
            }
        }
        sets
    }

    /// Code for any processor.
    #[must_use]
    pub fn portable() -> Self {
        Self(Set::Portable)
    }

    /// For a block in which only the first `live` lanes hold images. Where half of the lanes are enough, kernels read and
    /// write that half alone, and take half the time where vectors of sixteen take two registers or two cycles. Lanes that
    /// both ways compute get the same bits, and what lies in the other half has to be nobody's.
    #[must_use]
    pub fn for_live(self, live: usize) -> Self {
        if live > super::LANES / 2 {
            return self;
        }
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => Self(Set::NarrowAvx2),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => match is_x86_feature_detected!("avx512vl") {
                true => Self(Set::NarrowAvx512),
                false => Self(Set::NarrowAvx2),
            },
            _ => self,
        }
    }

    /// Whether kernels leave the second half of the lanes alone.
    #[must_use]
    pub fn is_narrow(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::NarrowAvx2 | Set::NarrowAvx512 => true,
            _ => false,
        }
    }

    /// Whether there are sixteen vector registers, not thirty-two.
    #[must_use]
    pub fn has_few_registers(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 | Set::NarrowAvx2 => true,
            _ => false,
        }
    }

    pub(super) fn set(self) -> Set {
        self.0
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Set::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2+fma",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512f",
            #[cfg(target_arch = "x86_64")]
            Set::NarrowAvx2 => "avx2+fma, eight lanes",
            #[cfg(target_arch = "x86_64")]
            Set::NarrowAvx512 => "avx512vl, eight lanes",
        })
    }
}

/// Defines a safe function whose body is compiled once per instruction set, with the name given in brackets standing for
/// its [`Vector`](super::vector::Vector), and which takes the [`Isa`] to use as its first argument.
macro_rules! for_each_isa {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident[$vector:ident]($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$attribute])*
        #[allow(clippy::too_many_arguments)]
        $visibility fn $name(isa: $crate::kernels::blocked::isa::Isa, $($argument: $type),*) $(-> $result)? {
            /// # Safety
            /// On a processor that has the vector's instructions.
            #[inline(always)]
            #[allow(clippy::too_many_arguments, clippy::inline_always, unsafe_code)]
            unsafe fn body<$vector: $crate::kernels::blocked::vector::Vector>($($argument: $type),*) $(-> $result)? {
                // SAFETY: the instructions are the caller's; vectors are read and written through references.
                #[allow(unused_unsafe)]
                unsafe { $body }
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments, unsafe_code)]
            fn avx2($($argument: $type),*) $(-> $result)? {
                // SAFETY: compiled for AVX2 and FMA.
                unsafe { body::<$crate::kernels::blocked::x86::Pair>($($argument),*) }
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx2,fma")]
            #[allow(clippy::too_many_arguments, unsafe_code)]
            fn avx512($($argument: $type),*) $(-> $result)? {
                // SAFETY: compiled for AVX-512F.
                unsafe { body::<std::arch::x86_64::__m512>($($argument),*) }
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments, unsafe_code)]
            fn narrow_avx2($($argument: $type),*) $(-> $result)? {
                // SAFETY: compiled for AVX2 and FMA.
                unsafe { body::<$crate::kernels::blocked::x86::Half>($($argument),*) }
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
            #[allow(clippy::too_many_arguments, unsafe_code)]
            fn narrow_avx512($($argument: $type),*) $(-> $result)? {
                // SAFETY: compiled for AVX2 and FMA.
                unsafe { body::<$crate::kernels::blocked::x86::Half>($($argument),*) }
            }

            match isa.set() {
                // SAFETY: plain code.
                #[allow(unsafe_code)]
                $crate::kernels::blocked::isa::Set::Portable => unsafe {
                    body::<$crate::kernels::blocked::vector::Lanes>($($argument),*)
                },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` of this value exists only where the processor has AVX2 and FMA.
                #[allow(unsafe_code)]
                $crate::kernels::blocked::isa::Set::Avx2 => unsafe { avx2($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` of this value exists only where the processor has AVX-512F, AVX2 and FMA.
                #[allow(unsafe_code)]
                $crate::kernels::blocked::isa::Set::Avx512 => unsafe { avx512($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` of this value exists only where the processor has AVX2 and FMA.
                #[allow(unsafe_code)]
                $crate::kernels::blocked::isa::Set::NarrowAvx2 => unsafe { narrow_avx2($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` of this value exists only where the processor has AVX-512F, AVX-512VL, AVX2 and FMA.
                #[allow(unsafe_code)]
                $crate::kernels::blocked::isa::Set::NarrowAvx512 => unsafe { narrow_avx512($($argument),*) },
            }
        }
    };
}
pub(super) use for_each_isa;
