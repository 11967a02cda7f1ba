// TF32 on tensor cores: products of numbers rounded to 10 bits of mantissa, added up in FP32.
//
// One instruction, m16n8k8, takes a warp's 16×8 matrix A and 8×8 matrix B and adds A·B to the 16×8 matrix C. Lane 4g + t holds
//
//     A: (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)    B: (t, g), (t + 4, g)    C: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)
//
// as row and column. Operands are rounded once, on their way into shared memory, and come from there one word a lane. Shared memory has
// 32 banks, so that a read is one access where the 32 words of
//
//     t·plane + g, planes by t, are on 32 banks: where the plane's length is an odd multiple of 8, since t·plane then takes all four
//     multiples of 8 (modulo 32) and g the eight words behind each;
//     g·plane + t, planes by g: where it is an odd multiple of 4, since g·plane takes all eight multiples of 4 and t the four behind each.
//
// Where neighbours are two columns apart, even columns lie before odd ones, so that neighbours are neighbours there as well.

// The least number from `count` on that is an odd multiple of `unit`.
DEVICE int odd_multiple(int count, int unit) { return (ceil_div(count, unit) | 1) * unit; }

// Length of a row of `columns` columns that are read `stride` apart, 1 or 2, and the place of a column in it. The place of column
// stride·x + k is x + the place of k.
DEVICE int row_length(int columns, int stride) { return ceil_div(columns, stride) * stride; }
DEVICE int place_in_row(int column, int columns, int stride) {
    return column % stride * ceil_div(columns, stride) + column / stride;
}

#ifndef EMULATED

// To the nearest TF32, ties away from zero.
DEVICE float to_tf32(float x) {
#if __CUDA_ARCH__ >= 800
    u32 bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return __uint_as_float(bits);
#else
    return x;  // never asked for there
#endif
}

// All lanes of a warp call it together.
DEVICE void multiply_add(float c[4], const float a[4], const float b[2]) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
                   "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
#endif
}

#endif
