/* The element type a kernel file is compiled for: FM_REAL_BITS is 32 or 64, FM_ISA a bare name. */
#ifndef FM_REAL_H
#define FM_REAL_H

#include "kernels.h"

#if FM_REAL_BITS == 32
typedef float real;
typedef int32_t real_int;
#define REAL(x) x##f
#elif FM_REAL_BITS == 64
typedef double real;
typedef int64_t real_int;
#define REAL(x) x
#else
#error "FM_REAL_BITS must be 32 or 64"
#endif

#define FM_JOIN_(name, isa, bits) fm_##name##_##isa##_##bits
#define FM_JOIN(name, isa, bits) FM_JOIN_(name, isa, bits)
/* A name of external linkage: one per ISA and dtype. */
#define KERNEL(name) FM_JOIN(name, FM_ISA, FM_REAL_BITS)

#define ALWAYS_INLINE static inline __attribute__((always_inline))
/* Arrays of accumulators become registers only if their loops are gone early. */
#define UNROLL _Pragma("GCC unroll 8")

void KERNEL(fill_gemm)(fm_kernels *table);
void KERNEL(fill_activations)(fm_kernels *table);
void KERNEL(fill_dropout)(fm_kernels *table);
void KERNEL(fill_elementwise)(fm_kernels *table);
void KERNEL(fill_softmax_losses)(fm_kernels *table);
void KERNEL(fill_sigmoid_losses)(fm_kernels *table);
void KERNEL(fill_lane_losses)(fm_kernels *table);
void KERNEL(fill_error_losses)(fm_kernels *table);
void KERNEL(fill_dice_losses)(fm_kernels *table);
void KERNEL(fill_optimizers)(fm_kernels *table);
void KERNEL(fill_sparse)(fm_kernels *table);
void KERNEL(fill_transpose)(fm_kernels *table);

#endif
