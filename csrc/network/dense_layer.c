/* The dense layer inside a network: products small enough to be read where they lie. */
#include <string.h>

#include "network.h"

/* Rows go in fours or in pairs, which share a list. */
static void skip_zeros(const fm_kernels *kernels, const fm_gemm *g, const fm_scratch *scratch)
{
    const void *const *x = g->a_lines;
    uint32_t *index = scratch->index;
    if (kernels->listed_gemm && g->m == FM_MARK_GROUP && g->n % kernels->lanes == 0) {
        kernels->listed_gemm(g, index);
        return;
    }
    for (size_t i = 0; i < g->m; i += 2) {
        char *c = fm_at(g->c, (ptrdiff_t)i * g->c_row, kernels->itemsize);
        const size_t other = i + 1 < g->m;
        const size_t count = kernels->compress[g->a_bytes](
            g->k, x[i], x[i + other], index, scratch->value[0], scratch->value[other]);
        const fm_sparse_row rows[2] = {{count, index, scratch->value[0]},
                                       {count, index, scratch->value[1]}};
        if (other) {
            kernels->sparse_pair(g->n, rows, g->b, g->b_row, g->bias, g->relu, c, g->c_row);
        } else {
            kernels->sparse_rows(1, g->n, rows, g->b, g->b_row, g->bias, g->relu, c, g->c_row);
        }
    }
}

void fm_activate_columns(const layer *l, const fm_kernels *kernels, fm_activation activation,
                         size_t rows, size_t columns, void *y, ptrdiff_t y_row)
{
    const size_t width = activation < FM_POINTWISE_ACTIVATIONS ? columns : l->outputs;
    fm_activate_rows(kernels, activation, rows, width, y, y_row, y, y_row);
}

/* What the product has not applied yet. */
static void activate(const layer *l, const fm_kernels *kernels, fm_activation activation,
                     size_t rows, size_t columns, void *y, ptrdiff_t y_row)
{
    if (activation != FM_IDENTITY && activation != FM_RELU) {
        fm_activate_columns(l, kernels, activation, rows, columns, y, y_row);
    }
}

static fm_gemm forward_product(const layer *l, fm_columns parameters, size_t rows, fm_rows x,
                               void *y, ptrdiff_t y_row, fm_activation activation)
{
    return (fm_gemm){.m = rows,
                     .n = parameters.outputs,
                     .k = l->inputs,
                     .a = x.data,
                     .a_row = x.stride,
                     .a_col = 1,
                     .a_lines = x.lines,
                     .a_bytes = x.bytes,
                     .b = parameters.weight,
                     .b_row = parameters.row,
                     .c = y,
                     .c_row = y_row,
                     .mode = FM_GEMM_STORE,
                     .bias = parameters.bias,
                     .relu = activation == FM_RELU,
                     .half_end = parameters.half_end};
}

static void forward_group(const layer *l, const fm_kernels *kernels, fm_columns parameters,
                          size_t rows, fm_rows x, void *y, ptrdiff_t y_row,
                          fm_activation activation, const fm_scratch *scratch)
{
    const fm_gemm gemm = forward_product(l, parameters, rows, x, y, y_row, activation);
    if (gemm.n) {
        skip_zeros(kernels, &gemm, scratch);
        activate(l, kernels, activation, rows, gemm.n, y, y_row);
    }
}

static void forward(const layer *l, const fm_kernels *kernels, fm_columns parameters, size_t rows,
                    fm_rows x, void *y, ptrdiff_t y_row, fm_activation activation)
{
    const fm_gemm gemm = forward_product(l, parameters, rows, x, y, y_row, activation);
    if (gemm.n) {
        kernels->gemm(&gemm);
        activate(l, kernels, activation, rows, gemm.n, y, y_row);
    }
}

static void forward_samples(const layer *l, const fm_kernels *kernels, fm_columns parameters,
                            size_t rows, const fm_samples *x, const size_t *order, size_t first,
                            const fm_dropout *dropout, uint64_t number, void *y, ptrdiff_t y_row,
                            fm_activation activation, const fm_scratch *scratch)
{
    if (!parameters.outputs) {
        return;
    }
    for (size_t i = 0; i < rows; i += 2) {
        const size_t count = fm_min(2, rows - i);
        fm_sparse_row row[2];
        for (size_t r = 0; r < count; r++) {
            const size_t sample = fm_in_order(order, first + i + r);
            row[r] = fm_sparse_row_of(kernels, x, sample, scratch->value[r]);
            if (dropout) {
                row[r] = fm_drop_elements(kernels, dropout, number + i + r, row[r],
                                          scratch->value[r]);
            }
        }
        kernels->sparse_rows(count, parameters.outputs, row, parameters.weight, parameters.row,
                             parameters.bias, activation == FM_RELU,
                             fm_at(y, (ptrdiff_t)i * y_row, kernels->itemsize), y_row);
    }
    activate(l, kernels, activation, rows, parameters.outputs, y, y_row);
}

/* Weights [p, p + k) of inputs [j, j + n), transposed; beyond the last input zeros. */
static void pack(const layer *l, const fm_kernels *kernels, const void *parameters, size_t j,
                 size_t n, size_t p, size_t k, void *panel)
{
    const ptrdiff_t from = (ptrdiff_t)(l->weight + j * l->out_stride + p);
    const size_t inputs = fm_min(n, l->inputs - fm_min(l->inputs, j));
    if (inputs < n) {
        memset(panel, 0, k * kernels->nr * kernels->itemsize);
    }
    kernels->transpose(inputs, k, fm_at(parameters, from, kernels->itemsize),
                       (ptrdiff_t)l->out_stride, panel, (ptrdiff_t)kernels->nr);
}

/* Large weights are transposed on their way into the cache: a copy would cost several times as much
 * memory traffic. */
static void backward_packed(const layer *l, const fm_kernels *kernels, const void *parameters,
                            const fm_gemm *g, fm_range columns, void *panel)
{
    const size_t item = kernels->itemsize, nr = kernels->nr, kc = kernels->kc;
    for (size_t p = 0; p < g->k; p += kc) {
        fm_gemm block = *g;
        block.k = fm_min(kc, g->k - p);
        block.a = fm_at(g->a, (ptrdiff_t)p, item);
        block.b = panel;
        block.b_row = (ptrdiff_t)nr;
        block.mode = p ? FM_GEMM_CONTINUE : FM_GEMM_STORE;
        for (size_t j = columns.begin; j < columns.end; j += nr) {
            block.n = fm_min(nr, columns.end - j);
            block.c = fm_at(g->c, (ptrdiff_t)(j - columns.begin), item);
            pack(l, kernels, parameters, j, block.n, p, block.k, panel);
            kernels->gemm(&block);
        }
    }
}

/* Samples and inputs that pass through together, and strips of dy packed at a time, when weights
 * are large. */
enum { LARGE_SAMPLES = 240, LARGE_INPUTS = 64, LARGE_STRIPS = 10 };
/* Batches from this size on fill vectors with samples. */
enum { MANY_SAMPLES = 32 };

size_t fm_panel_elements(const fm_kernels *kernels, size_t batch, size_t widest)
{
    const size_t nr = kernels->nr, samples = fm_round_up(fm_min(batch, LARGE_SAMPLES), nr);
    const size_t depth = fm_min(batch, FM_GRADIENT_SAMPLES);
    const size_t transposed = samples * (widest + LARGE_INPUTS);
    const size_t packed = depth * (LARGE_STRIPS * nr + LARGE_INPUTS);
    return fm_max(kernels->kc * nr, fm_max(transposed, packed));
}

/* dx' = w dy': so w is read once, as it lies; dy and dx are transposed, which are small beside it.
 */
static void backward_large(const layer *l, const fm_kernels *kernels, const void *parameters,
                           const fm_gemm *g, fm_range columns, void *panel)
{
    const size_t item = kernels->itemsize, nr = kernels->nr, kc = kernels->kc;
    for (size_t i = 0; i < g->m; i += LARGE_SAMPLES) {
        const size_t samples = fm_min(LARGE_SAMPLES, g->m - i), row = fm_round_up(samples, nr);
        char *sums = fm_at(panel, (ptrdiff_t)(row * g->k), item);
        for (size_t p = 0; p < g->k; p += kc) {
            const ptrdiff_t from = (ptrdiff_t)i * g->a_row + (ptrdiff_t)p;
            kernels->pack(nr, samples, fm_min(kc, g->k - p), fm_at(g->a, from, item), g->a_row, 1,
                          fm_at(panel, (ptrdiff_t)(row * p), item));
        }
        for (size_t j = columns.begin; j < columns.end; j += LARGE_INPUTS) {
            const size_t width = fm_min(LARGE_INPUTS, columns.end - j);
            const size_t inputs = fm_min(width, l->inputs - fm_min(l->inputs, j));
            const ptrdiff_t to = (ptrdiff_t)i * g->c_row + (ptrdiff_t)(j - columns.begin);
            fm_gemm block = {.m = inputs,
                             .n = samples,
                             .a_row = (ptrdiff_t)l->out_stride,
                             .a_col = 1,
                             .b_row = (ptrdiff_t)nr,
                             .c = sums,
                             .c_row = (ptrdiff_t)row};
            for (size_t p = 0; p < g->k; p += kc) {
                block.k = fm_min(kc, g->k - p);
                block.a = fm_at(parameters, (ptrdiff_t)(l->weight + j * l->out_stride + p), item);
                block.b = fm_at(panel, (ptrdiff_t)(row * p), item);
                block.mode = p ? FM_GEMM_CONTINUE : FM_GEMM_STORE;
                kernels->packed_gemm(&block, (ptrdiff_t)(kernels->mr * l->out_stride));
            }
            kernels->transpose(inputs, samples, sums, (ptrdiff_t)row, fm_at(g->c, to, item),
                               g->c_row);
            for (size_t r = 0; r < samples && inputs < width; r++) {
                memset(fm_at(g->c, to + (ptrdiff_t)r * g->c_row + (ptrdiff_t)inputs, item), 0,
                       (width - inputs) * item);
            }
        }
    }
}

static void backward(const layer *l, const fm_kernels *kernels, const void *parameters,
                     const void *transposed, size_t rows, const void *dy, void *dx,
                     fm_range columns, const fm_scratch *scratch)
{
    fm_gemm gemm = {.m = rows,
                    .n = columns.end - columns.begin,
                    .k = l->outputs,
                    .a = dy,
                    .a_row = (ptrdiff_t)l->out_stride,
                    .a_col = 1,
                    .c = dx,
                    .c_row = (ptrdiff_t)l->in_stride,
                    .mode = FM_GEMM_STORE};
    if (transposed) {
        gemm.b = fm_at(transposed, (ptrdiff_t)columns.begin, kernels->itemsize);
        gemm.b_row = (ptrdiff_t)l->in_stride;
        gemm.half_end = columns.end > fm_filled(l->inputs, l->in_stride, kernels->itemsize);
        kernels->gemm(&gemm);
    } else if (rows >= MANY_SAMPLES) {
        backward_large(l, kernels, parameters, &gemm, columns, scratch->panel);
    } else {
        backward_packed(l, kernels, parameters, &gemm, columns, scratch->panel);
    }
}

/* Of the inputs that are marked, those from `begin` on. */
static void marked_block(const fm_kernels *kernels, const fm_gemm *g, size_t begin,
                         const fm_scratch *scratch)
{
    kernels->marked_gemm(g, scratch->marks + begin / FM_MARK_GROUP, (g->k + 31) / 32,
                         scratch->marks_stride, scratch->list);
}

/* Where sample i's inputs begin. */
static const void *line_of(const fm_kernels *kernels, const fm_gemm *g, size_t i)
{
    return fm_at(g->a_lines[i], (ptrdiff_t)g->a_first, g->a_bytes ? 1 : kernels->itemsize);
}

static void mark_samples(const fm_kernels *kernels, const fm_gemm *g, const fm_scratch *scratch)
{
    const size_t words = (g->k + 31) / 32, stride = scratch->marks_stride;
    memset(scratch->marks, 0, words * stride * sizeof *scratch->marks);
    for (size_t i = 0; i < g->k; i++) {
        kernels->mark[g->a_bytes](g->m, line_of(kernels, g, i), (unsigned)(i % 32),
                                  scratch->marks + i / 32 * stride);
    }
}

static void use_block(const fm_kernels *kernels, const fm_target *target, fm_range inputs, size_t n,
                      const void *sums)
{
    fm_update_weights(kernels, target, inputs, (fm_range){0, n}, sums, (ptrdiff_t)n);
}

/* A gradient for a step of an optimizer, used block by block while it is in the cache. */
static void gradient_used(const fm_kernels *kernels, const fm_gemm *g, int skip,
                          const fm_target *target, size_t first, const fm_scratch *scratch)
{
    const size_t item = kernels->itemsize, inputs = fm_update_inputs(target->update, g->n, item);
    fm_gemm block = *g;
    block.c = scratch->sums;
    block.c_row = (ptrdiff_t)g->n;
    if (skip) {
        mark_samples(kernels, g, scratch);
    }
    for (size_t i = 0; i < g->m; i += inputs) {
        block.m = fm_min(inputs, g->m - i);
        fm_gemm_begin(&block, g, i, 0, item);
        if (skip) {
            marked_block(kernels, &block, i, scratch);
        } else {
            kernels->gemm(&block);
        }
        use_block(kernels, target, (fm_range){first + i, first + i + block.m}, g->n, block.c);
    }
}

/* What a single sample adds to the weights of those of its inputs that are not zero. */
static void add_sample(const fm_kernels *kernels, const fm_gemm *g, const fm_scratch *scratch)
{
    const size_t item = kernels->itemsize;
    const void *x = line_of(kernels, g, 0);
    void *values = scratch->value[0];
    const size_t count = kernels->compress[g->a_bytes](g->m, x, x, scratch->index, values, values);
    const uint32_t sample = 0;
    for (size_t i = 0; i < count; i++) {
        const fm_sparse_row one = {1, &sample, fm_at(values, (ptrdiff_t)i, item)};
        const ptrdiff_t input = (ptrdiff_t)scratch->index[i];
        kernels->sparse_sum(g->n, &one, g->b, g->b_row, g->mode, g->alpha,
                            fm_at(g->c, input * g->c_row, item));
    }
}

/* The chains of a large batch, continued from block to block of samples in `sums` and applied once
 * they are complete. */
static void gradient_blocked(const fm_kernels *kernels, const fm_gemm *g, const fm_target *target,
                             size_t first, void *sums)
{
    const size_t item = kernels->itemsize;
    for (size_t i = 0; i < g->m; i += FM_GRADIENT_INPUTS) {
        fm_gemm block = *g;
        block.m = fm_min(FM_GRADIENT_INPUTS, g->m - i);
        block.c = sums;
        block.c_row = (ptrdiff_t)g->n;
        for (size_t p = 0; p < g->k; p += FM_GRADIENT_SAMPLES) {
            block.k = fm_min(FM_GRADIENT_SAMPLES, g->k - p);
            fm_gemm_begin(&block, g, i, p, item);
            block.b = fm_at(g->b, (ptrdiff_t)p * g->b_row, item);
            block.mode = p ? FM_GEMM_CONTINUE : FM_GEMM_STORE;
            kernels->gemm(&block);
        }
        if (target->update) {
            use_block(kernels, target, (fm_range){first + i, first + i + block.m}, g->n, sums);
            continue;
        }
        for (size_t r = 0; r < block.m; r++) {
            const void *sum = fm_at(sums, (ptrdiff_t)(r * g->n), item);
            void *to = fm_at(g->c, (ptrdiff_t)(i + r) * g->c_row, item);
            if (g->mode == FM_GEMM_ADD_SCALED) {
                kernels->axpy(g->n, g->alpha, sum, to);
            } else {
                memcpy(to, sum, g->n * item);
            }
        }
    }
}

/* The gradient of weights that do not fit the cache: x and dy are packed, of which each is read
 * many times. */
static void gradient_large(const fm_kernels *kernels, const fm_gemm *g, const fm_target *target,
                           size_t first, const fm_scratch *scratch)
{
    const size_t item = kernels->itemsize, nr = kernels->nr, mr = kernels->mr;
    const size_t columns = LARGE_STRIPS * nr;
    void *panel = scratch->panel, *tiles = fm_at(panel, (ptrdiff_t)(columns * g->k), item);
    fm_gemm block = *g;
    block.a = tiles;
    block.a_row = 1;
    block.a_col = (ptrdiff_t)mr;
    block.b = panel;
    block.b_row = (ptrdiff_t)nr;
    for (size_t j = 0; j < g->n; j += columns) {
        block.n = fm_min(columns, g->n - j);
        kernels->pack(nr, block.n, g->k, fm_at(g->b, (ptrdiff_t)j, item), 1, g->b_row, panel);
        for (size_t i = 0; i < g->m; i += LARGE_INPUTS) {
            block.m = fm_min(LARGE_INPUTS, g->m - i);
            block.c = fm_at(g->c, (ptrdiff_t)i * g->c_row + (ptrdiff_t)j, item);
            kernels->pack(mr, block.m, g->k, fm_at(g->a, (ptrdiff_t)i * g->a_row, item), g->a_row,
                          g->a_col, tiles);
            if (target->update) {
                block.c = scratch->sums;
                block.c_row = (ptrdiff_t)block.n;
            }
            kernels->packed_gemm(&block, (ptrdiff_t)(mr * g->k));
            if (target->update) {
                fm_update_weights(kernels, target, (fm_range){first + i, first + i + block.m},
                                  (fm_range){j, j + block.n}, block.c, block.c_row);
            }
        }
    }
}

static void gradient_of_biases(const layer *l, const fm_kernels *kernels, size_t rows,
                               const void *dy, const fm_target *target, fm_range biases,
                               const fm_scratch *scratch)
{
    const ptrdiff_t begin = (ptrdiff_t)biases.begin;
    void *to = target->update ? scratch->sums
                              : fm_at(target->columns.bias, begin, kernels->itemsize);
    kernels->column_sums(rows, biases.end - biases.begin, fm_at(dy, begin, kernels->itemsize),
                         (ptrdiff_t)l->out_stride, target->mode, target->alpha, to);
    if (target->update) {
        fm_update_biases(kernels, target, biases, to);
    }
}

static void gradient(const layer *l, const fm_kernels *kernels, size_t rows, fm_rows x, int skip,
                     const void *dy, const fm_target *target, fm_range inputs, fm_range biases,
                     const fm_scratch *scratch)
{
    const size_t item = kernels->itemsize, first = inputs.begin;
    const fm_columns *to = &target->columns;
    const fm_gemm gemm = {.m = inputs.end - inputs.begin,
                          .n = to->outputs,
                          .k = rows,
                          .a = fm_at(x.data, (ptrdiff_t)first, item),
                          .a_row = 1,
                          .a_col = x.stride,
                          .a_lines = x.lines,
                          .a_first = first,
                          .a_bytes = x.bytes,
                          .b = dy,
                          .b_row = (ptrdiff_t)l->out_stride,
                          .c = fm_at(to->weight, (ptrdiff_t)first * to->row, item),
                          .c_row = to->row,
                          .mode = target->mode,
                          .alpha = target->alpha,
                          .half_end = to->half_end};
    if (gemm.m && gemm.n) {
        if (!skip && rows > FM_GRADIENT_SAMPLES) {
            gradient_blocked(kernels, &gemm, target, first, scratch->sums);
        } else if (!x.lines && scratch->panel && rows >= MANY_SAMPLES) {
            gradient_large(kernels, &gemm, target, first, scratch);
        } else if (target->update) {
            gradient_used(kernels, &gemm, skip, target, first, scratch);
        } else if (skip && rows == 1 && target->mode == FM_GEMM_ADD_SCALED) {
            add_sample(kernels, &gemm, scratch);
        } else if (skip) {
            mark_samples(kernels, &gemm, scratch);
            marked_block(kernels, &gemm, 0, scratch);
        } else {
            kernels->gemm(&gemm);
        }
    }
    gradient_of_biases(l, kernels, rows, dy, target, biases, scratch);
}

/* A feature's entries, which are used up, as a row. */
static fm_sparse_row take_feature(fm_entries *entries, size_t feature, size_t item)
{
    fm_sparse_row row = {0, entries->samples, entries->values};
    for (uint32_t e = entries->head[feature]; e; e = entries->next[e - 1]) {
        entries->samples[row.count] = entries->sample[e - 1];
        fm_copy_element(fm_at(entries->values, (ptrdiff_t)row.count, item),
                        fm_at(entries->value, (ptrdiff_t)e - 1, item), item);
        row.count++;
    }
    entries->head[feature] = 0;
    return row;
}

/* For a step of an optimizer, which changes the weights of inputs without entries too. */
static void samples_used(const layer *l, const fm_kernels *kernels, fm_entries *entries,
                         const void *dy, const fm_target *target, fm_range inputs, void *sums)
{
    const size_t item = kernels->itemsize, n = target->columns.outputs;
    const size_t together = n ? fm_update_inputs(target->update, n, item) : 1;
    for (size_t i = inputs.begin; i < inputs.end && n; i += together) {
        const fm_range block = {i, fm_min(i + together, inputs.end)};
        for (size_t r = block.begin; r < block.end; r++) {
            void *sum = fm_at(sums, (ptrdiff_t)((r - i) * n), item);
            const fm_sparse_row row = take_feature(entries, r, item);
            if (row.count) {
                kernels->sparse_sum(n, &row, dy, (ptrdiff_t)l->out_stride, FM_GEMM_STORE, 1, sum);
            } else {
                memset(sum, 0, n * item);
            }
        }
        use_block(kernels, target, block, n, sums);
    }
}

/* Features come in no order that the hardware foresees, and the weights of all are larger than the
 * caches near the core. Inlined, as GCC leaves out calls of what only prefetches. */
enum { FEATURES_AHEAD = 4 };

static inline __attribute__((always_inline)) void ask_for_weights(const fm_columns *columns,
                                                                  size_t input, size_t item)
{
    const char *from = fm_at(columns->weight, (ptrdiff_t)input * columns->row, item);
    for (size_t at = 0; at < columns->outputs * item; at += FM_ALIGNMENT) {
        __builtin_prefetch(from + at, 1);
    }
}

static void gradient_samples(const layer *l, const fm_kernels *kernels, size_t rows, const void *dy,
                             const fm_target *target, fm_range inputs, fm_range biases,
                             const fm_scratch *scratch)
{
    const size_t item = kernels->itemsize;
    const fm_columns *to = &target->columns;
    fm_entries *entries = scratch->entries;
    if (target->update) {
        samples_used(l, kernels, entries, dy, target, inputs, scratch->sums);
    } else {
        for (size_t i = inputs.begin; i < inputs.end && target->mode == FM_GEMM_STORE; i++) {
            memset(fm_at(to->weight, (ptrdiff_t)i * to->row, item), 0, to->outputs * item);
        }
        for (size_t i = 0; i < entries->n_features; i++) {
            const uint32_t feature = entries->features[i];
            if (i + FEATURES_AHEAD < entries->n_features) {
                ask_for_weights(to, entries->features[i + FEATURES_AHEAD], item);
            }
            const fm_sparse_row row = take_feature(entries, feature, item);
            kernels->sparse_sum(to->outputs, &row, dy, (ptrdiff_t)l->out_stride, target->mode,
                                target->alpha,
                                fm_at(to->weight, (ptrdiff_t)feature * to->row, item));
        }
    }
    entries->n_features = 0;
    gradient_of_biases(l, kernels, rows, dy, target, biases, scratch);
}

static void transpose(const layer *l, const fm_kernels *kernels, const void *parameters,
                      void *transposed, fm_range in)
{
    const size_t item = kernels->itemsize;
    const ptrdiff_t from = (ptrdiff_t)(l->weight + in.begin * l->out_stride);
    kernels->transpose(in.end - in.begin, l->outputs, fm_at(parameters, from, item),
                       (ptrdiff_t)l->out_stride, fm_at(transposed, (ptrdiff_t)in.begin, item),
                       (ptrdiff_t)l->in_stride);
}

const layer_type fm_dense_layer = {forward,  forward_group,    forward_samples, backward,
                                   gradient, gradient_samples, transpose};
