/* Which instruction sets the machine has, and the table of kernels in use. */
#include "isa.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "isa_list.h"

#define DECLARE_FILLS(isa, bits)                                                                   \
    void fm_fill_activations_##isa##_##bits(fm_kernels *);                                         \
    void fm_fill_dropout_##isa##_##bits(fm_kernels *);                                             \
    void fm_fill_elementwise_##isa##_##bits(fm_kernels *);                                         \
    void fm_fill_gemm_##isa##_##bits(fm_kernels *);                                                \
    void fm_fill_softmax_losses_##isa##_##bits(fm_kernels *);                                      \
    void fm_fill_sigmoid_losses_##isa##_##bits(fm_kernels *);                                      \
    void fm_fill_lane_losses_##isa##_##bits(fm_kernels *);                                         \
    void fm_fill_error_losses_##isa##_##bits(fm_kernels *);                                        \
    void fm_fill_dice_losses_##isa##_##bits(fm_kernels *);                                         \
    void fm_fill_optimizers_##isa##_##bits(fm_kernels *);                                          \
    void fm_fill_sparse_##isa##_##bits(fm_kernels *);                                              \
    void fm_fill_transpose_##isa##_##bits(fm_kernels *);
#define DECLARE(isa, supported)                                                                    \
    DECLARE_FILLS(isa, 32)                                                                         \
    DECLARE_FILLS(isa, 64)
FM_ISA_LIST(DECLARE)

typedef struct {
    const char *name;
    fm_kernels tables[2]; /* float32, float64 */
} isa_kernels;

/* Those this machine can run, best first, NULL-named past the last. Filled once. */
static isa_kernels available[8];
static _Atomic size_t chosen;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void detect(void)
{
    size_t n = 0;
/* Conversion comes before the sparse products, which fill a table of bytes by it. */
#define FILL_TABLE(isa, bits, table)                                                               \
    fm_fill_activations_##isa##_##bits(table);                                                     \
    fm_fill_dropout_##isa##_##bits(table);                                                         \
    fm_fill_elementwise_##isa##_##bits(table);                                                     \
    fm_fill_gemm_##isa##_##bits(table);                                                            \
    fm_fill_softmax_losses_##isa##_##bits(table);                                                  \
    fm_fill_sigmoid_losses_##isa##_##bits(table);                                                  \
    fm_fill_lane_losses_##isa##_##bits(table);                                                     \
    fm_fill_error_losses_##isa##_##bits(table);                                                    \
    fm_fill_dice_losses_##isa##_##bits(table);                                                     \
    fm_fill_optimizers_##isa##_##bits(table);                                                      \
    fm_fill_sparse_##isa##_##bits(table);                                                          \
    fm_fill_transpose_##isa##_##bits(table);
#define FILL(isa, supported)                                                                       \
    if (supported) {                                                                               \
        available[n].name = #isa;                                                                  \
        FILL_TABLE(isa, 32, &available[n].tables[0])                                               \
        FILL_TABLE(isa, 64, &available[n].tables[1])                                               \
        n++;                                                                                       \
    }
    FM_ISA_LIST(FILL)
}

const fm_kernels *fm_kernels_for(fm_dtype dtype)
{
    pthread_once(&once, detect);
    return &available[chosen].tables[dtype == FM_FLOAT64];
}

const char *fm_available_isa(size_t index)
{
    pthread_once(&once, detect);
    return index < sizeof available / sizeof available[0] ? available[index].name : NULL;
}

const char *fm_get_isa(void)
{
    return fm_available_isa(chosen);
}

fm_status fm_set_isa(const char *name)
{
    for (size_t i = 0; fm_available_isa(i); i++) {
        if (!strcmp(fm_available_isa(i), name)) {
            chosen = i;
            return FM_OK;
        }
    }
    return FM_ERROR_ISA;
}
