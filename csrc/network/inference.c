/* Prediction and evaluation: blocks of rows pass through all layers while they are in cache. */
#include <stdatomic.h>

#include "network.h"

/* Rows that pass through the layers together. */
enum { BLOCK_ROWS = 64 };

/* A thread's own buffers: the converted input and two activations that take turns, and the list
 * of the non-zeros of two rows. */
static size_t activation_bytes(const fm_network *network, size_t n_samples)
{
    return fm_min(BLOCK_ROWS, n_samples) * network->widest * network->itemsize;
}

/* Whole cache lines of indices, so that all that follows is aligned. */
static size_t list_length(const fm_network *network)
{
    return fm_round_up(network->layers[0].in_stride + FM_ALIGNMENT,
                       FM_ALIGNMENT / sizeof(uint32_t));
}

static size_t block_bytes(const fm_network *network, size_t n_samples)
{
    return 3 * activation_bytes(network, n_samples) +
           list_length(network) * (sizeof(uint32_t) + 2 * network->itemsize);
}

static fm_scratch lists_of(const fm_network *network, size_t n_samples, char *buffers)
{
    const size_t length = list_length(network);
    char *lists = buffers + 3 * activation_bytes(network, n_samples);
    char *values = lists + length * sizeof(uint32_t);
    return (fm_scratch){.index = (uint32_t *)lists,
                        .value = {values, values + length * network->itemsize}};
}

/* Per-sample losses and hits precede the buffers. */
static size_t sample_bytes(size_t n_samples)
{
    return fm_round_up(n_samples * sizeof(double), FM_ALIGNMENT) +
           fm_round_up(n_samples, FM_ALIGNMENT);
}

static int threads_of(const fm_network *network, size_t n_samples)
{
    const size_t blocks = (n_samples + BLOCK_ROWS - 1) / BLOCK_ROWS;
    const size_t lanes = fm_kernels_for(network->dtype)->lanes;
    const double operations = 2.0 * (double)network->n_parameters * (double)n_samples;
    const int threads = fm_threads_for(lanes, operations);
    return (int)fm_min((size_t)threads, blocks);
}

size_t fm_network_inference_workspace(const fm_network *network, size_t n_samples)
{
    const size_t limit = SIZE_MAX / 64;
    if (n_samples > limit || network->widest > limit / BLOCK_ROWS) {
        return SIZE_MAX;
    }
    return sample_bytes(n_samples) +
           (size_t)threads_of(network, n_samples) * block_bytes(network, n_samples);
}

typedef struct {
    const fm_network *network;
    const fm_kernels *kernels;
    const void *parameters;
    const fm_samples *x;
    const fm_matrix *out; /* where predictions go, or NULL */
    int logits;           /* leave out the activation that the loss contains */
    int skip;             /* zeros of the input */
    const fm_targets *y;  /* what they are compared with, or NULL */
    const fm_loss *loss;
    double *losses;
    uint8_t *correct;
    char *buffers; /* of block_bytes for each thread */
    atomic_int bad_sample;
} inference;

/* `gradient` has room for a row's, which the losses come with. */
static void evaluate_rows(const inference *f, size_t first, size_t rows, void *logits,
                          ptrdiff_t row, void *gradient)
{
    const layer *last = fm_last_layer(f->network);
    const size_t n = last->outputs;
    const fm_row_losses losses = {.kernels = f->kernels,
                                  .loss = f->loss,
                                  .output = last->activation,
                                  .targets = f->y,
                                  .first = first,
                                  .weight = 1,
                                  .predictions = {logits, rows, n, row, f->network->dtype},
                                  .gradient = {gradient, rows, n, 0, f->network->dtype},
                                  .losses = f->losses + first,
                                  .hits = f->correct + first};
    fm_loss_rows(&losses, (fm_range){0, rows});
}

/* Whether what the first layer made of rows shows that one of them is not finite, as such a value
 * makes every sum infinite or NaN. Sums may also overflow, so the rows are looked at themselves. */
static int has_bad_sample(const inference *f, size_t first, size_t rows, const char *y,
                          ptrdiff_t y_row)
{
    const size_t item = f->kernels->itemsize;
    const double largest = fm_largest(f->network->dtype, f->network->dtype);
    int suspect = 0;
    for (size_t i = 0; i < rows; i++) {
        suspect |= !f->kernels->all_within(1, fm_at(y, (ptrdiff_t)i * y_row, item), largest);
    }
    if (!suspect) {
        return 0;
    }
    const fm_kernels *kernels = fm_kernels_for(f->x->dtype);
    const double limit = fm_largest(f->x->dtype, f->network->dtype);
    for (size_t i = first; i < first + rows; i++) {
        const fm_sparse_row row = f->x->starts
                                      ? fm_sparse_row_of(kernels, f->x, i, NULL)
                                      : (fm_sparse_row){f->x->cols, NULL, fm_sample(f->x, i)};
        if (!kernels->all_within(row.count, row.value, limit)) {
            return 1;
        }
    }
    return 0;
}

/* The first layer's forward, which skips zeros; bytes are not converted for it. */
static void forward_groups(const inference *f, fm_columns parameters, size_t rows, const void *x,
                           ptrdiff_t x_row, void *y, ptrdiff_t y_row, fm_activation activation,
                           const fm_scratch *lists)
{
    const layer *l = &f->network->layers[0];
    const size_t item = f->network->itemsize;
    const int bytes = f->x->dtype == FM_UINT8;
    for (size_t i = 0; i < rows; i += FM_MARK_GROUP) {
        const size_t count = fm_min(FM_MARK_GROUP, rows - i);
        const void *lines[FM_MARK_GROUP];
        for (size_t r = 0; r < count; r++) {
            lines[r] = fm_at(x, (ptrdiff_t)(i + r) * x_row, bytes ? 1 : item);
        }
        const fm_rows group = {.lines = lines, .bytes = bytes};
        l->type->forward_group(l, f->kernels, parameters, count, group,
                               fm_at(y, (ptrdiff_t)i * y_row, item), y_row, activation, lists);
    }
}

/* Pass rows [first, first + rows) through the network. */
static void run_block(inference *f, size_t first, size_t rows, char *buffers)
{
    const fm_network *net = f->network;
    const size_t item = net->itemsize;
    const size_t third = activation_bytes(net, f->x->rows);
    const fm_scratch lists = lists_of(net, f->x->rows, buffers);
    const void *x = NULL;
    ptrdiff_t x_row = f->x->stride;

    if (f->x->starts) {
        /* Read row by row below. */
    } else if (f->x->dtype == net->dtype || (f->skip && f->x->dtype == FM_UINT8)) {
        x = fm_sample(f->x, first);
    } else {
        x_row = (ptrdiff_t)net->layers[0].in_stride;
        for (size_t i = 0; i < rows; i++) {
            fm_gather_row(f->kernels, f->x, first + i, fm_at(buffers, (ptrdiff_t)i * x_row, item));
        }
        x = buffers;
    }
    for (size_t i = 0; i < net->n_layers; i++) {
        const layer *l = &net->layers[i];
        const int last = i + 1 == net->n_layers;
        char *y = buffers + (1 + i % 2) * third;
        ptrdiff_t y_row = (ptrdiff_t)l->out_stride;
        size_t columns = l->out_stride;
        fm_activation activation = l->activation;
        if (last && f->out) {
            y = fm_row(f->out, first, item);
            y_row = f->out->stride;
            columns = l->outputs;
        }
        if (last && f->logits && net->fused) {
            activation = FM_IDENTITY;
        }
        const fm_columns parameters = fm_columns_of(net, l, f->parameters, (fm_range){0, columns});
        const int look = i == 0 && f->x->dtype != FM_UINT8;
        /* An activation could hide what is looked for. */
        const fm_activation fused = look ? FM_IDENTITY : activation;
        if (i == 0 && f->x->starts) {
            l->type->forward_sparse(l, f->kernels, parameters, rows, f->x, NULL, first, NULL, 0, y,
                                    y_row, fused, &lists);
        } else if (i == 0 && f->skip) {
            forward_groups(f, parameters, rows, x, x_row, y, y_row, fused, &lists);
        } else {
            l->type->forward(l, f->kernels, parameters, rows, (fm_rows){x, x_row, NULL, 0}, y,
                             y_row, fused);
        }
        if (look && has_bad_sample(f, first, rows, y, y_row)) {
            f->bad_sample = 1;
            return;
        }
        if (fused != activation) {
            fm_activate_columns(l, f->kernels, activation, rows, columns, y, y_row);
        }
        if (last && f->y) {
            evaluate_rows(f, first, rows, y, y_row, buffers);
        }
        x = y;
        x_row = y_row;
    }
}

static void run_part(void *context, size_t part, size_t parts)
{
    inference *f = context;
    const size_t n = f->x->rows;
    char *buffers = f->buffers + part * block_bytes(f->network, n);
    const fm_range rows = fm_share(n, BLOCK_ROWS, part, parts);
    for (size_t i = rows.begin; i < rows.end && !f->bad_sample; i += BLOCK_ROWS) {
        run_block(f, i, fm_min(BLOCK_ROWS, rows.end - i), buffers);
    }
}

static fm_status run(inference *f, void *workspace, size_t workspace_size)
{
    const size_t n = f->x->rows, bytes = block_bytes(f->network, n);
    const size_t fixed = sample_bytes(n);
    if (!workspace || (uintptr_t)workspace % FM_ALIGNMENT || workspace_size < fixed + bytes) {
        return FM_ERROR_MEMORY;
    }
    /* The thread setting may have been raised since the workspace was sized. */
    const int threads = (int)fm_min((size_t)threads_of(f->network, n),
                                    (workspace_size - fixed) / bytes);
    f->losses = workspace;
    f->correct = (uint8_t *)workspace + fm_round_up(n * sizeof(double), FM_ALIGNMENT);
    f->buffers = (char *)workspace + fixed;
    if (!f->x->starts) {
        const fm_scratch lists = lists_of(f->network, n, f->buffers);
        const fm_density density = fm_look_at_zeros(f->kernels, f->x, f->buffers, &lists);
        f->skip = density.elements < FM_DENSE_ENOUGH;
    }
    fm_in_parallel(threads, run_part, f);
    return f->bad_sample ? FM_ERROR_NOT_FINITE : FM_OK;
}

fm_status fm_network_predict(const fm_network *network, const void *parameters, const fm_samples *x,
                             int logits, const fm_matrix *out, void *workspace,
                             size_t workspace_size)
{
    const fm_status status = fm_check_arguments(network, parameters, x, NULL, NULL);
    if (status) {
        return status;
    }
    if (out->dtype != network->dtype) {
        return FM_ERROR_DTYPE;
    }
    if (out->rows != x->rows || out->cols != network->layers[network->n_layers - 1].outputs ||
        !fm_is_writable(out)) {
        return FM_ERROR_SHAPE;
    }
    inference f = {.network = network,
                   .kernels = fm_kernels_for(network->dtype),
                   .parameters = parameters,
                   .x = x,
                   .out = out,
                   .logits = logits};
    return run(&f, workspace, workspace_size);
}

fm_status fm_network_evaluate(const fm_network *network, const void *parameters,
                              const fm_samples *x, const fm_targets *y, const fm_loss *loss,
                              void *workspace, size_t workspace_size, fm_totals *totals)
{
    const fm_status status = fm_check_arguments(network, parameters, x, y, loss);
    if (status) {
        return status;
    }
    if (fm_is_of_batch(loss)) {
        return FM_ERROR_VALUE;
    }
    inference f = {.network = network,
                   .kernels = fm_kernels_for(network->dtype),
                   .parameters = parameters,
                   .x = x,
                   .logits = 1,
                   .y = y,
                   .loss = loss};
    const fm_status ran = run(&f, workspace, workspace_size);
    if (ran) {
        return ran;
    }
    *totals = (fm_totals){.weight = fm_weight_of(y, NULL, 0, x->rows), .samples = x->rows};
    for (size_t i = 0; i < x->rows; i++) {
        totals->loss += f.losses[i];
        totals->correct += f.correct[i];
    }
    return FM_OK;
}
