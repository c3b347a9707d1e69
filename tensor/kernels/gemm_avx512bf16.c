/* The one kernel that AVX512_BF16 adds to those of AVX-512: the product whose operands are rounded to bfloat16. */
#include "tensor/kernels/gemm_pairs.h"

void tensor_gemm_avx512bf16(const gemm_args *g) {
    gemm_bf16(g);
}
