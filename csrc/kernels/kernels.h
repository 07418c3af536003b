/* The leaf loops of one instruction set and one dtype: serial, no allocation, no OpenMP.
 *
 * Pointers are to elements of the table's dtype unless typed otherwise; sizes and strides count
 * elements. Sums over k or over rows are one chain of fused multiply-adds (or adds) in index order
 * per output element, so no way of splitting a product into tiles changes its bits.
 */
#ifndef FM_KERNELS_H
#define FM_KERNELS_H

#include "fastmlp.h"

typedef enum {
    FM_GEMM_STORE,     /* c = sum */
    FM_GEMM_CONTINUE,  /* c = the chain that began in c, continued */
    FM_GEMM_ADD_SCALED /* c = c + alpha * sum */
} fm_gemm_mode;

/* c (m, n) from a (m, k) and b (k, n); a[i][p] = a[i * a_row + p * a_col], where one of the two
 * strides is 1; b and c have contiguous rows. bias (n), if not NULL, is added to the finished sum
 * and relu, if set, clips the result at zero; both go with FM_GEMM_STORE and FM_GEMM_CONTINUE only.
 * Where a_lines is not NULL, it says in place of a where a's rows begin, if a_col is 1, or its
 * columns, if a_row is 1, the elements of each from a_first on; not so for `packed_gemm`. Where
 * a_bytes is set, as it may be for `listed_gemm` and `marked_gemm`, these are bytes, which stand
 * for what `convert` makes of them. half_end says of an n of whole FM_ALIGNMENT bytes that b and
 * bias, and c where it is read, hold zeros in the second half of the last of them; `packed_gemm`
 * does without. */
typedef struct {
    size_t m, n, k;
    const void *a;
    ptrdiff_t a_row, a_col;
    const void *const *a_lines;
    size_t a_first;
    int a_bytes; /* 0 or 1 */
    const void *b;
    ptrdiff_t b_row;
    void *c;
    ptrdiff_t c_row;
    fm_gemm_mode mode;
    double alpha;
    const void *bias;
    int relu, half_end;
} fm_gemm;

/* Have the a of a block of g begin in row i and column p. */
static inline void fm_gemm_begin(fm_gemm *block, const fm_gemm *g, size_t i, size_t p, size_t item)
{
    if (!g->a_lines) {
        const ptrdiff_t at = (ptrdiff_t)i * g->a_row + (ptrdiff_t)p * g->a_col;
        block->a = (const char *)g->a + at * (ptrdiff_t)item;
        return;
    }
    const int by_row = g->a_col == 1;
    block->a_lines = g->a_lines + (by_row ? i : p);
    block->a_first = g->a_first + (by_row ? p : i);
}

/* The non-zeros of a row of x, ascending by column. */
typedef struct {
    size_t count;
    const uint32_t *index;
    const void *value;
} fm_sparse_row;

/* Features whose zeros are looked at together, see `mark` below, and samples, see `listed_gemm`. */
enum { FM_MARK_GROUP = 4 };

typedef size_t (*fm_compress)(size_t n, const void *row0, const void *row1, uint32_t *index,
                              void *value0, void *value1);
typedef void (*fm_mark)(size_t n, const void *row, unsigned sample, uint32_t *marks);

typedef void (*fm_map)(size_t n, const void *x, void *y);

/* One row of a loss: returns the sum over its outputs and writes scale * that sum's gradient to dz,
 * which is not z. Losses of a softmax output take a t of NULL for 1 at `label` and 0 elsewhere. */
typedef double (*fm_row_loss)(const fm_loss *loss, size_t n, const void *z, const void *t,
                              size_t label, double scale, void *dz);

/* Losses of samples of few outputs, side by side: a sample in each lane, an output in each row. */
enum { FM_LANE_OUTPUTS = 32, FM_MOST_LANES = 16 };
typedef struct {
    size_t n;            /* outputs, FM_LANE_OUTPUTS at most */
    void *z;             /* (n, lanes), which the gradients by it take the place of */
    const void *targets; /* (n, lanes) */
    const void *scale;   /* lanes: what a sample's gradient is multiplied by */
    double *losses;      /* lanes: the sum over a sample's outputs */
    uint8_t *hits;       /* lanes: whether its prediction agrees with its target */
} fm_lane_losses;
typedef void (*fm_lane_loss)(const fm_lane_losses *losses);

typedef void (*fm_dice_gradient_row)(size_t n, const void *z, const void *t, size_t label,
                                     const void *constant, const void *by_target, double weight,
                                     void *dz);

typedef enum { FM_NO_PENALTY, FM_L2_PENALTY, FM_L1_L2_PENALTY } fm_penalty;

/* Sums over all weights are put together from cells of so many inputs, counted from a layer's
 * first, and FM_ALIGNMENT bytes of columns, which no thread shares with another: so they do not
 * depend on how weights are shared out. */
enum { FM_CELL_INPUTS = 16 };

/* What is the same for all weights in a step of an optimizer, see fm_optimizer:
 *   rate     lr, for Adam lr / (1 - beta1^t)
 *   keep1, keep2, take1, take2     beta1, beta2, 1 - beta1, 1 - beta2
 *   root     what sqrt(s1) is multiplied by before epsilon is added
 *   decay    1 - lr weight_decay
 *   l1, l2   of the penalty, whose gradient is added first
 *   average  what the average of a parameter takes of it */
typedef struct {
    fm_update_kind kind;
    double rate, keep1, keep2, take1, take2, root, epsilon, decay;
    fm_penalty penalty;
    double l1, l2;
    double average;
} fm_update;

/* Rows of n elements, whole vectors. Weights are penalized, in whole cells: the penalty of the
 * cell of rows 16i to 16i + 15 and of the j-th FM_ALIGNMENT bytes of columns goes to cells[j *
 * cells_run + i] unless cells is NULL. Biases are not. */
typedef struct {
    size_t rows, n;
    const void *gradient;
    void *weights, *state[FM_STATES];
    ptrdiff_t gradient_row, weights_row, state_row;
    int penalized;
    double *cells;
    ptrdiff_t cells_run;
} fm_update_block;

/* Dropout of the inputs of a layer, in an epoch: the keys of the stream's rounds; units whose draw
 * of 16 bits is less than the threshold are dropped, those that stay are multiplied by the factor.
 * Nothing is dropped where the threshold is 0. */
enum { FM_DROPOUT_ROUNDS = 7 };
typedef struct {
    uint64_t keys[FM_DROPOUT_ROUNDS][2];
    uint32_t layer, epoch;
    uint32_t threshold;
    double factor;
} fm_dropout;

typedef struct fm_kernels {
    size_t itemsize;
    size_t lanes; /* elements of a vector */
    size_t mr;    /* rows of the gemm's full tile */
    size_t nr;    /* columns of the gemm's full tile */
    size_t kc;    /* depth of packed tiles and panels */

    void (*gemm)(const fm_gemm *args);
    /* Copy `count` vectors of `depth` elements, element p of vector i at from[i * along + p *
     * down], into strips of `strip` of them, a multiple of 16 bytes: element p of vector i goes to
     * to[i / strip * strip * depth + p * strip + i % strip]. Either along or down is 1. */
    void (*pack)(size_t strip, size_t count, size_t depth, const void *from, ptrdiff_t along,
                 ptrdiff_t down, void *to);
    /* The gemm of a b packed in strips of b_row columns, whole vectors and nr at most, and of an a
     * whose tiles of mr rows are a_tile apart. Sizes are not cut any further. */
    void (*packed_gemm)(const fm_gemm *args, ptrdiff_t a_tile);
    /* dst (cols, rows) = src (rows, cols) transposed */
    void (*transpose)(size_t rows, size_t cols, const void *src, ptrdiff_t src_row, void *dst,
                      ptrdiff_t dst_row);
    /* Sparse products. compress and mark by whether rows are of bytes, whose values are converted.
     * compress: the columns where one of two rows is not zero, and what the rows hold there;
     * outputs have room for n + 16 elements. Of one row alone: row1 = row0 and value1 = value0.
     * sparse_rows: c (m, n) = x b + bias, bias and relu as in gemm.
     * sparse_pair: the same for two rows of one index.
     * listed_gemm: the gemm of FM_MARK_GROUP rows of a, given by a_lines, over the depths where
     * one of them is not zero; mode store, n a multiple of the vector; list is scratch of k + 16
     * elements. NULL where pairs of rows are quicker;
     * sparse_sum: c (n) = x b, or c + alpha * it with FM_GEMM_ADD_SCALED;
     * mark: where one of features 4g to 4g + 3 of a sample is not zero, set its bit of marks[g];
     * marked_gemm: the gemm, modes store and add scaled, n a multiple of the vector, of an a whose
     * columns are given by a_lines, and zero in rows 4g to 4g + 3 of column p unless bit p % 32 of
     * marks[p / 32 * stride + g] is set; list is scratch of 32 * words + 16 elements. */
    fm_compress compress[2];
    void (*sparse_rows)(size_t m, size_t n, const fm_sparse_row *x, const void *b, ptrdiff_t b_row,
                        const void *bias, int relu, void *c, ptrdiff_t c_row);
    void (*sparse_pair)(size_t n, const fm_sparse_row *x, const void *b, ptrdiff_t b_row,
                        const void *bias, int relu, void *c, ptrdiff_t c_row);
    void (*listed_gemm)(const fm_gemm *args, uint32_t *list);
    void (*sparse_sum)(size_t n, const fm_sparse_row *x, const void *b, ptrdiff_t b_row,
                       fm_gemm_mode mode, double alpha, void *c);
    fm_mark mark[2];
    void (*marked_gemm)(const fm_gemm *args, const uint32_t *marks, size_t words, size_t stride,
                        uint32_t *list);
    /* y (n) = column sums of x (m, n), or y + alpha * them with FM_GEMM_ADD_SCALED */
    void (*column_sums)(size_t m, size_t n, const void *x, ptrdiff_t x_row, fm_gemm_mode mode,
                        double alpha, void *y);
    /* y = y + alpha * x */
    void (*axpy)(size_t n, double alpha, const void *x, void *y);
    /* A step of an optimizer. Plain SGD is a mode of the products too. Numbers smaller than normal
     * ones may count as zero. */
    void (*update[FM_UPDATES])(const fm_update *update, const fm_update_block *block);
    /* What an update does first: add the penalty's gradient to the block's, here in place. Sums of
     * squares of the result times `unit` go to squares, as the penalties go to the block's cells.
     */
    void (*penalize)(const fm_update *update, const fm_update_block *block, void *gradient,
                     double unit, double *squares);
    /* y = y + share * (x - y) */
    void (*average)(size_t n, double share, const void *x, void *y);
    /* x = factor * x */
    void (*scale)(size_t n, double factor, void *x);
    /* Scale the columns of w (m, n), n whole vectors, to at most a Euclidean norm; each sum is one
     * chain. */
    void (*limit_norms)(size_t m, size_t n, void *w, ptrdiff_t w_row, double limit);
    /* Whether all |x| <= limit; false for NaN. */
    int (*all_within)(size_t n, const void *x, double limit);

    /* By fm_activation. forward of softmax and log-softmax takes one row; y may be x. */
    fm_map activation[FM_ACTIVATIONS];
    /* y = f(z) and slope = f'(z), for those whose slope y does not tell; else NULL. y may be z. */
    void (*sloped[FM_POINTWISE_ACTIVATIONS])(size_t n, const void *z, void *y, void *slope);
    /* dz = dy * f'(z), given y = f(z), or z in its place for those that `sloped` is there for */
    void (*derivative[FM_POINTWISE_ACTIVATIONS])(size_t n, const void *dy, const void *y, void *dz);
    /* z = x * y */
    void (*multiply)(size_t n, const void *x, const void *y, void *z);

    fm_row_loss row_loss[FM_LOSSES]; /* NULL for losses over the batch */
    /* Of those without a parameter or weights of outputs; NULL for the others. */
    fm_lane_loss lane_loss[FM_LOSSES];
    /* Dice over the batch, with both = sum w y t and all = sum w (y + t) over the samples, in
     * columns of the outputs.
     * dice_sums: add a sample of weight w; a label counts from the first column.
     * dice_slopes: what the gradient by y of a sample of weight 1 comes from, constant + by_target
     * * t, `share` being that of a column in the loss; both becomes the columns' losses.
     * gradients: a row's by z, dz having held y = f(z). */
    void (*dice_sums)(size_t n, const void *y, const void *t, size_t label, double weight,
                      double *both, double *all);
    void (*dice_slopes)(size_t n, double c, double share, double *both, const double *all,
                        void *constant, void *by_target);
    fm_dice_gradient_row softmax_dice_gradient, sigmoid_dice_gradient;
    /* Whether sigmoid(z) > 1/2 exactly where t > 1/2, in all of a row. */
    int (*same_sides)(size_t n, const void *z, const void *t);
    /* Index of the first of the largest elements. */
    size_t (*argmax)(size_t n, const void *x);

    /* What to multiply units of the epoch's sample by: units [first, first + n), or those listed.
     */
    void (*dropout)(const fm_dropout *dropout, uint64_t sample, size_t first, size_t n,
                    void *factors);
    void (*dropout_at)(const fm_dropout *dropout, uint64_t sample, size_t n, const uint32_t *units,
                       void *factors);

    /* By fm_dtype of the source: y = x converted, uint8 scaled by 1/255. */
    fm_map convert[3];
} fm_kernels;

#endif
