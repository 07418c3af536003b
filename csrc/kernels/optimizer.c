/* Steps of optimizers, see kernels.h for the formulas. */
#include "simd.h"

typedef struct {
    vec rate, keep1, take1, keep2, take2, root, epsilon, decay, l1, l2, half_l2;
} constants;

/* One vector of weights and of what the optimizer keeps for them; `kind` is a constant at each
 * call. */
ALWAYS_INLINE void step(const constants *c, const fm_update_kind kind, vec g, vec *w, vec *s0,
                        vec *s1)
{
    switch (kind) {
    case FM_UPDATE_SGD:
        *w = vec_fma(c->rate, g, *w);
        break;
    case FM_UPDATE_MOMENTUM:
        *s0 = vec_fma(c->rate, g, c->keep1 * *s0);
        *w = *w + *s0;
        break;
    case FM_UPDATE_NESTEROV:
        *s0 = vec_fma(c->rate, g, c->keep1 * *s0);
        *w = *w + vec_fma(c->rate, g, c->keep1 * *s0);
        break;
    case FM_UPDATE_ADAM:
    case FM_UPDATE_ADAMW:
        *s0 = vec_fma(c->take1, g, c->keep1 * *s0);
        *s1 = vec_fma(c->take2 * g, g, c->keep2 * *s1);
        if (kind == FM_UPDATE_ADAMW) {
            *w = c->decay * *w;
        }
        *w = vec_fma(c->rate, vec_ratio(*s0, vec_fma(c->root, vec_root(*s1), c->epsilon)), *w);
        break;
    case FM_UPDATE_RMSPROP:
        *s0 = vec_fma(c->take2 * g, g, c->keep2 * *s0);
        *w = vec_fma(c->rate, vec_ratio(g, vec_root(*s0) + c->epsilon), *w);
        break;
    default:
        *s0 = vec_fma(c->take2 * g, g, c->keep2 * *s0);
        *s1 = vec_fma(c->rate, vec_ratio(g, vec_root(*s0) + c->epsilon), c->keep1 * *s1);
        *w = *w + *s1;
    }
}

/* Where the next vector of a block's arrays lies. */
typedef struct {
    const real *gradient;
    real *weights, *state[FM_STATES];
} cursor;

ALWAYS_INLINE cursor cursor_at(const fm_update_block *b, size_t r, size_t column, const int states)
{
    const ptrdiff_t row = (ptrdiff_t)r, c = (ptrdiff_t)column;
    cursor at = {.gradient = (const real *)b->gradient + row * b->gradient_row + c,
                 .weights = (real *)b->weights + row * b->weights_row + c};
    for (int i = 0; i < states; i++) {
        at.state[i] = (real *)b->state[i] + row * b->state_row + c;
    }
    return at;
}

/* The gradient with that of the penalty; the weights' penalty is added to sum, for l2 alone without
 * its factor. */
ALWAYS_INLINE vec penalized(const constants *c, const fm_penalty penalty, vec g, vec w, vec *sum)
{
    const vec zero = vec_set1(0);
    if (penalty == FM_L2_PENALTY) {
        *sum = vec_fma(w, w, *sum);
    } else {
        const vec size = vec_abs(w);
        *sum = vec_fma(size, vec_fma(c->half_l2, size, c->l1), *sum);
        g = g + vec_if_less(w, zero, zero - c->l1, vec_if_less(zero, w, c->l1, zero));
    }
    return vec_fma(c->l2, w, g);
}

ALWAYS_INLINE void update_vector(const constants *c, const cursor *at, const fm_update_kind kind,
                                 const int states, const fm_penalty penalty, vec *sum)
{
    vec g = vec_load(at->gradient), w = vec_load(at->weights), s0 = g, s1 = g;
    if (states > 0) {
        s0 = vec_load(at->state[0]);
    }
    if (states > 1) {
        s1 = vec_load(at->state[1]);
    }
    if (penalty) {
        g = penalized(c, penalty, g, w, sum);
    }
    step(c, kind, g, &w, &s0, &s1);
    vec_store(at->weights, w);
    if (states > 0) {
        vec_store(at->state[0], s0);
    }
    if (states > 1) {
        vec_store(at->state[1], s1);
    }
}

ALWAYS_INLINE void move(cursor *at, size_t columns, const int states)
{
    at->gradient += columns;
    at->weights += columns;
    for (int i = 0; i < states; i++) {
        at->state[i] += columns;
    }
}

/* Vectors of a cell's row, and of the rows whose sums are kept in registers together. */
enum { CELL = FM_ALIGNMENT / sizeof(real) / LANES, STRIP = 4 };

/* The end of the cells that begin with a row. */
ALWAYS_INLINE size_t end_of_cells(const fm_update_block *b, size_t top)
{
    return b->rows - top < FM_CELL_INPUTS ? b->rows : top + FM_CELL_INPUTS;
}

/* Where the cells from a row and a column on have their sums. */
ALWAYS_INLINE double *cell_at(const fm_update_block *b, double *cells, size_t top, size_t left)
{
    return cells + (ptrdiff_t)(left / LANES / CELL) * b->cells_run +
           (ptrdiff_t)(top / FM_CELL_INPUTS);
}

/* A cell's rows from `top` on, and `vectors` of columns from `left` on. */
ALWAYS_INLINE void update_cells(const constants *c, double factor, const fm_update_block *b,
                                size_t top, size_t left, const int vectors,
                                const fm_update_kind kind, const int states,
                                const fm_penalty penalty)
{
    vec sum[STRIP];
    UNROLL
    for (int i = 0; i < vectors; i++) {
        sum[i] = vec_set1(0);
    }
    for (size_t r = top; r < end_of_cells(b, top); r++) {
        cursor at = cursor_at(b, r, left, states);
        UNROLL
        for (int i = 0; i < vectors; i++) {
            update_vector(c, &at, kind, states, penalty, &sum[i]);
            move(&at, LANES, states);
        }
    }
    if (!b->cells) {
        return;
    }
    double *cell = cell_at(b, b->cells, top, left);
    UNROLL
    for (int i = 0; i < vectors; i += CELL, cell += b->cells_run) {
        vec all = sum[i];
        UNROLL
        for (int j = 1; j < CELL; j++) {
            all = all + sum[i + j];
        }
        *cell = factor * (double)vec_sum(all);
    }
}

ALWAYS_INLINE constants constants_of(const fm_update *u)
{
    return (constants){.rate = vec_set1((real)-u->rate),
                       .keep1 = vec_set1((real)u->keep1),
                       .take1 = vec_set1((real)u->take1),
                       .keep2 = vec_set1((real)u->keep2),
                       .take2 = vec_set1((real)u->take2),
                       .root = vec_set1((real)u->root),
                       .epsilon = vec_set1((real)u->epsilon),
                       .decay = vec_set1((real)u->decay),
                       .l1 = vec_set1((real)u->l1),
                       .l2 = vec_set1((real)u->l2),
                       .half_l2 = vec_set1((real)(u->l2 / 2))};
}

/* Rows are whole vectors, as in the buffers of a network; of weights whole cells' rows. */
ALWAYS_INLINE void update_block(const fm_update *u, const fm_update_block *b,
                                const fm_update_kind kind, const int states,
                                const fm_penalty penalty)
{
    const constants c = constants_of(u);
    const double factor = penalty == FM_L2_PENALTY ? u->l2 / 2 : 1;
    if (penalty) {
        for (size_t r = 0; r < b->rows; r += FM_CELL_INPUTS) {
            size_t i = 0;
            for (; b->n - i >= STRIP * LANES; i += STRIP * LANES) {
                update_cells(&c, factor, b, r, i, STRIP, kind, states, penalty);
            }
            for (; i < b->n; i += CELL * LANES) {
                update_cells(&c, factor, b, r, i, CELL, kind, states, penalty);
            }
        }
        return;
    }
    for (size_t r = 0; r < b->rows; r++) {
        cursor at = cursor_at(b, r, 0, states);
        for (size_t i = 0; i < b->n; i += LANES) {
            update_vector(&c, &at, kind, states, penalty, NULL);
            move(&at, LANES, states);
        }
    }
}

/* Nothing but the penalty and the squares of a block. */
ALWAYS_INLINE void penalize_block(const fm_update *u, const fm_update_block *b, real *gradient,
                                  double unit, double *squares, const fm_penalty penalty)
{
    const constants c = constants_of(u);
    const double factor = penalty == FM_L2_PENALTY ? u->l2 / 2 : 1;
    const vec scale = vec_set1((real)unit);
    for (size_t top = 0; top < b->rows; top += FM_CELL_INPUTS) {
        for (size_t left = 0; left < b->n; left += CELL * LANES) {
            vec sum = vec_set1(0), square = vec_set1(0);
            for (size_t r = top; r < end_of_cells(b, top); r++) {
                real *to = gradient + (ptrdiff_t)r * b->gradient_row + left;
                const real *w = (const real *)b->weights + (ptrdiff_t)r * b->weights_row + left;
                for (size_t i = 0; i < CELL * LANES; i += LANES) {
                    vec g = vec_load(to + i);
                    if (penalty) {
                        g = penalized(&c, penalty, g, vec_load(w + i), &sum);
                        vec_store(to + i, g);
                    }
                    square = vec_fma(g * scale, g * scale, square);
                }
            }
            if (penalty) {
                *cell_at(b, b->cells, top, left) = factor * (double)vec_sum(sum);
            }
            *cell_at(b, squares, top, left) = (double)vec_sum(square);
        }
    }
}

static void penalize(const fm_update *u, const fm_update_block *b, void *gradient, double unit,
                     double *squares)
{
    const fm_penalty penalty = b->penalized ? u->penalty : FM_NO_PENALTY;
    if (penalty == FM_NO_PENALTY) {
        penalize_block(u, b, gradient, unit, squares, FM_NO_PENALTY);
    } else if (penalty == FM_L2_PENALTY) {
        penalize_block(u, b, gradient, unit, squares, FM_L2_PENALTY);
    } else {
        penalize_block(u, b, gradient, unit, squares, FM_L1_L2_PENALTY);
    }
}

static void average(size_t n, double share, const void *x, void *y)
{
    const real *from = x;
    real *to = y;
    for (size_t i = 0; i < n; i += LANES) {
        const vec old = vec_load(to + i);
        vec_store(to + i, vec_fma(vec_set1((real)share), vec_load(from + i) - old, old));
    }
}

static void scale(size_t n, double factor, void *x)
{
    real *to = x;
    for (size_t i = 0; i < n; i += LANES) {
        vec_store(to + i, vec_set1((real)factor) * vec_load(to + i));
    }
}

/* `vectors` of columns. Squares in units of the limit's cannot overflow where it matters. */
ALWAYS_INLINE void limit_columns(size_t m, real *w, ptrdiff_t w_row, double limit,
                                 const int vectors)
{
    const vec unit = vec_set1((real)(1 / limit)), one = vec_set1(1);
    vec factor[STRIP];
    real largest = 0;
    UNROLL
    for (int i = 0; i < vectors; i++) {
        factor[i] = vec_set1(0);
    }
    for (size_t r = 0; r < m; r++) {
        UNROLL
        for (int i = 0; i < vectors; i++) {
            const vec v = unit * vec_load(w + (ptrdiff_t)r * w_row + i * LANES);
            factor[i] = vec_fma(v, v, factor[i]);
        }
    }
    UNROLL
    for (int i = 0; i < vectors; i++) {
        const real most = vec_largest(factor[i]);
        largest = most > largest ? most : largest;
        factor[i] = vec_if_less(one, factor[i], vec_ratio(one, vec_root(factor[i])), one);
    }
    for (size_t r = 0; r < m && largest > 1; r++) {
        UNROLL
        for (int i = 0; i < vectors; i++) {
            real *to = w + (ptrdiff_t)r * w_row + i * LANES;
            vec_store(to, factor[i] * vec_load(to));
        }
    }
}

static void limit_norms(size_t m, size_t n, void *w, ptrdiff_t w_row, double limit)
{
    size_t i = 0;
    for (; n - i >= STRIP * LANES; i += STRIP * LANES) {
        limit_columns(m, (real *)w + i, w_row, limit, STRIP);
    }
    for (; i < n; i += LANES) {
        limit_columns(m, (real *)w + i, w_row, limit, 1);
    }
}

ALWAYS_INLINE void update(const fm_update *u, const fm_update_block *b, const fm_update_kind kind,
                          const int states)
{
    const fm_penalty penalty = b->penalized ? u->penalty : FM_NO_PENALTY;
    if (penalty == FM_NO_PENALTY) {
        update_block(u, b, kind, states, FM_NO_PENALTY);
    } else if (penalty == FM_L2_PENALTY) {
        update_block(u, b, kind, states, FM_L2_PENALTY);
    } else {
        update_block(u, b, kind, states, FM_L1_L2_PENALTY);
    }
}

#define UPDATE(name, kind, states)                                                                 \
    static void name(const fm_update *u, const fm_update_block *b) { update(u, b, kind, states); }

UPDATE(sgd, FM_UPDATE_SGD, 0)
UPDATE(momentum, FM_UPDATE_MOMENTUM, 1)
UPDATE(nesterov, FM_UPDATE_NESTEROV, 1)
UPDATE(adam, FM_UPDATE_ADAM, 2)
UPDATE(adamw, FM_UPDATE_ADAMW, 2)
UPDATE(rmsprop, FM_UPDATE_RMSPROP, 1)
UPDATE(rmsprop_momentum, FM_UPDATE_RMSPROP_MOMENTUM, 2)

void KERNEL(fill_optimizers)(fm_kernels *table)
{
    table->penalize = penalize;
    table->average = average;
    table->scale = scale;
    table->limit_norms = limit_norms;
    table->update[FM_UPDATE_SGD] = sgd;
    table->update[FM_UPDATE_MOMENTUM] = momentum;
    table->update[FM_UPDATE_NESTEROV] = nesterov;
    table->update[FM_UPDATE_ADAM] = adam;
    table->update[FM_UPDATE_ADAMW] = adamw;
    table->update[FM_UPDATE_RMSPROP] = rmsprop;
    table->update[FM_UPDATE_RMSPROP_MOMENTUM] = rmsprop_momentum;
}
