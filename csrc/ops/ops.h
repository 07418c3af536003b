/* What the operations and the networks share. */
#ifndef FM_OPS_H
#define FM_OPS_H

#include <float.h>

#include "isa.h"
#include "threads.h"

static inline size_t fm_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t fm_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

static inline size_t fm_round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* The element `offset` past `base`. */
static inline void *fm_at(const void *base, ptrdiff_t offset, size_t itemsize)
{
    return (char *)base + offset * (ptrdiff_t)itemsize;
}

static inline void *fm_row(const fm_matrix *x, size_t row, size_t itemsize)
{
    return fm_at(x->data, (ptrdiff_t)row * x->stride, itemsize);
}

static inline size_t fm_dtype_size(fm_dtype dtype)
{
    return dtype == FM_UINT8 ? 1 : dtype == FM_FLOAT32 ? sizeof(float) : sizeof(double);
}

/* A row of compressed sparse samples; `converted` has room for its values in the kernels' dtype if
 * theirs is another. */
static inline fm_sparse_row fm_sparse_row_of(const fm_kernels *kernels, const fm_samples *x,
                                             size_t index, void *converted)
{
    const int64_t begin = x->starts[index];
    const size_t count = (size_t)(x->starts[index + 1] - begin);
    const void *values = fm_at(x->data, (ptrdiff_t)begin, fm_dtype_size(x->dtype));
    if (fm_dtype_size(x->dtype) != kernels->itemsize) {
        kernels->convert[x->dtype](count, values, converted);
        values = converted;
    }
    return (fm_sparse_row){count, (const uint32_t *)x->columns + begin, values};
}

typedef struct {
    size_t begin, end;
} fm_range;

/* The part-th of `parts` near-equal shares of `total` things, cut at multiples of `unit`. */
static inline fm_range fm_share(size_t total, size_t unit, size_t part, size_t parts)
{
    const size_t units = (total + unit - 1) / unit;
    return (fm_range){fm_min(units * part / parts * unit, total),
                      fm_min(units * (part + 1) / parts * unit, total)};
}

/* The largest finite element of a floating-point dtype that another can hold as well. */
static inline double fm_largest(fm_dtype dtype, fm_dtype as)
{
    return dtype == FM_FLOAT64 && as == FM_FLOAT64 ? DBL_MAX : FLT_MAX;
}

static inline int fm_is_real(fm_dtype dtype)
{
    return dtype == FM_FLOAT32 || dtype == FM_FLOAT64;
}

/* A matrix that can be written: its rows do not overlap. */
static inline int fm_is_writable(const fm_matrix *x)
{
    return x->stride >= (ptrdiff_t)x->cols || (x->rows <= 1 && x->stride >= 0);
}

/* Call `run` for every part of a team of up to `threads`; the caller's thread is part 0. One thread
 * means a plain call, with no parallel region at all. */
typedef void (*fm_part)(void *context, size_t part, size_t parts);
void fm_in_parallel(int threads, fm_part run, void *context);

/* One whole product, packed and split over threads as its size asks. The arguments are those of
 * the gemm kernel; with transpose_b, b is (n, k) with rows of stride b_row. */
fm_status fm_product(const fm_kernels *kernels, const fm_gemm *gemm, int transpose_b);

/* y = f(z) on rows x cols elements; each row of y may be the same row of z. */
void fm_activate_rows(const fm_kernels *kernels, fm_activation activation, size_t rows, size_t cols,
                      const void *z, ptrdiff_t z_row, void *y, ptrdiff_t y_row);

/* Whether an activation's slopes are had from what goes into it, not from its output. */
static inline int fm_takes_z(fm_activation activation)
{
    return activation == FM_GELU || activation == FM_SILU || activation == FM_MISH;
}

/* A loss that is a function of the whole batch, not the mean of its samples'. */
static inline int fm_is_of_batch(const fm_loss *loss)
{
    return loss->kind == FM_SOFTMAX_DICE || loss->kind == FM_BINARY_DICE ||
           loss->kind == FM_CUSTOM_LOSS;
}

/* FM_OK if there is such a loss and an output of that activation can have it. */
fm_status fm_check_loss(const fm_loss *loss, fm_activation output);
/* FM_OK if the targets fit `count` samples of `outputs` predictions. */
fm_status fm_check_targets(const fm_loss *loss, fm_activation output, fm_dtype dtype, size_t count,
                           size_t outputs, const fm_targets *targets);

/* The sample at a place of an order, which NULL leaves as they stand. */
static inline size_t fm_in_order(const size_t *order, size_t place)
{
    return order ? order[place] : place;
}

/* The sum of the weights of `count` samples, which order, unless NULL, lists from `first` on. */
double fm_weight_of(const fm_targets *targets, const size_t *order, size_t first, size_t count);

/* Whether a sample's prediction agrees with its target. */
int fm_is_hit(const fm_kernels *kernels, fm_activation output, size_t n, const void *predictions,
              const fm_targets *targets, size_t sample);

/* Losses that are a mean over samples. */
typedef struct {
    const fm_kernels *kernels;
    const fm_loss *loss;
    fm_activation output; /* which tells what a hit is */
    const fm_targets *targets;
    const size_t *order; /* of the samples; NULL: as they stand */
    size_t first;        /* row 0's place in it */
    double weight;       /* of the batch, which gradients are divided by */
    fm_matrix predictions, gradient;
    double *losses; /* per row: a sample's loss times its weight */
    uint8_t *hits;  /* per row, or NULL */
} fm_row_losses;

/* Of some of the rows; how many at a time makes no difference to their bits. */
void fm_loss_rows(const fm_row_losses *l, fm_range rows);

/* Dice over a batch. */
typedef struct {
    const fm_kernels *kernels;
    const fm_loss *loss;
    const fm_targets *targets;
    const size_t *order; /* of the samples; NULL: as they stand */
    size_t first;        /* row 0's place in it */
    fm_matrix predictions, gradient;
    double unit;                /* factor of the weights and the smoothing; fm_dice_unit() */
    double *both, *all;         /* per output; see kernels.h */
    void *constant, *by_target; /* per output, of the dtype */
} fm_dice;

/* A power of 2 that brings the larger of the samples' weight and the smoothing, and with it the
 * gradient's factors, to about 1, where float32 holds them: dice is a ratio, and it cancels. */
double fm_dice_unit(const fm_loss *loss, const fm_targets *targets, double weight);

/* The phases: outputs of rows, in place of their gradient; sums of columns over all rows; the loss
 * of the batch, of that weight, and the gradient of rows. All rows must have been through a phase
 * before the next. */
void fm_dice_outputs(const fm_dice *d, fm_range rows);
void fm_dice_sums(const fm_dice *d, fm_range columns);
double fm_dice_mean(const fm_dice *d, double weight);
void fm_dice_gradient(const fm_dice *d, fm_range rows);
static inline fm_range fm_dice_share(const fm_dice *d, size_t part, size_t parts)
{
    return fm_share(d->gradient.cols, FM_ALIGNMENT / sizeof(float), part, parts);
}
/* All of them, with memory of its own. */
fm_status fm_dice_in_parallel(fm_dice *d, int threads, double weight, double *mean);

#endif
