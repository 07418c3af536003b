/* The buffers of a training step, and how it goes about its first layer. */
#include <string.h>

#include "step_parts.h"

/* A cursor that hands out aligned pieces of a workspace and saturates at SIZE_MAX. */
typedef struct {
    char *base;
    size_t used;
} cursor;

static void *take(cursor *c, size_t count, size_t size)
{
    if (c->used > SIZE_MAX - FM_ALIGNMENT || count > (SIZE_MAX / 2 - c->used) / size) {
        c->used = SIZE_MAX;
        return NULL;
    }
    void *piece = c->base ? c->base + c->used : NULL;
    c->used += fm_round_up(count * size, FM_ALIGNMENT);
    return piece;
}

/* Entries of sparse samples in a batch, at most; they are counted in 32 bits. */
static size_t most_entries(const fm_samples *x, size_t batch)
{
    const size_t longest = fm_longest_row(x);
    return longest && batch > UINT32_MAX / 2 / longest ? SIZE_MAX : longest * batch;
}

static fm_entries *take_entries(cursor *c, const fm_network *network, size_t most, size_t batch)
{
    const size_t inputs = network->layers[0].inputs, item = network->itemsize;
    fm_entries *entries = take(c, 1, sizeof *entries);
    fm_entries e = {0};
    e.head = take(c, inputs, sizeof(uint32_t));
    e.next = take(c, most, sizeof(uint32_t));
    e.sample = take(c, most, sizeof(uint32_t));
    e.value = take(c, most, item);
    e.features = take(c, fm_min(most, inputs), sizeof(uint32_t));
    e.samples = take(c, batch, sizeof(uint32_t));
    e.values = take(c, batch, item);
    if (c->base) {
        memset(e.head, 0, inputs * sizeof(uint32_t));
        *entries = e;
    }
    return entries;
}

static void take_scratch(cursor *c, const fm_network *network, const fm_samples *x, size_t batch,
                         size_t entries, const fm_step *step, fm_scratch *scratch)
{
    const fm_kernels *kernels = step->kernels;
    const layer *l = &network->layers[0];
    const size_t room = l->in_stride + FM_ALIGNMENT, words = (batch + 31) / 32;
    fm_scratch s = {0};
    s.index = x->starts ? NULL : take(c, room, sizeof(uint32_t));
    for (int i = 0; i < 2; i++) {
        s.value[i] = take(c, room, network->itemsize);
    }
    if (x->starts) {
        s.entries = take_entries(c, network, entries, batch);
    } else {
        s.marks_stride = (l->inputs + FM_MARK_GROUP - 1) / FM_MARK_GROUP;
        s.marks = take(c, words * s.marks_stride, sizeof(uint32_t));
        s.list = take(c, 32 * words + 16, sizeof(uint32_t));
    }
    if (batch > FM_GRADIENT_SAMPLES || step->optimizer) {
        s.sums = take(c, FM_GRADIENT_INPUTS * network->widest, network->itemsize);
    }
    if (step->split.by_layers) {
        s.panel = take(c, fm_panel_elements(kernels, batch, network->widest), kernels->itemsize);
    }
    if (c->base) {
        *scratch = s;
    }
}

/* Returns the buffers of the layers past the first. */
static fm_rest take_rest(cursor *c, const fm_network *network, size_t batch, const fm_step *step)
{
    const size_t item = network->itemsize, n_layers = network->n_layers;
    fm_rest rest = {step->buffers,
                    take(c, n_layers, sizeof(void *)),
                    take(c, n_layers, sizeof(void *)),
                    take(c, n_layers, sizeof(void *)),
                    take(c, batch, sizeof(double)),
                    take(c, batch, 1)};
    for (size_t i = 0; i < step->n_buffers && step->split.replicated; i++) {
        const size_t begin = network->layers[1].weight;
        char *own = take(c, network->n_parameters - begin, item);
        rest.buffers.of[i] = c->base ? own - begin * item : NULL;
    }
    for (size_t i = 0; i < n_layers; i++) {
        const layer *l = &network->layers[i];
        void *output = i ? take(c, batch, l->out_stride * item) : NULL;
        const int keeps = l->keeps_slopes || fm_step_dropout(step, i + 1).threshold;
        void *slope = keeps ? take(c, batch, l->out_stride * item) : NULL;
        void *delta = take(c, batch, l->out_stride * item);
        if (c->base) {
            rest.outputs[i] = output;
            rest.slopes[i] = slope;
            rest.deltas[i] = delta;
        }
    }
    return rest;
}

/* Returns a thread's transposed copies of weights. */
static void **take_transposed(cursor *c, const fm_network *network)
{
    void **copies = take(c, network->n_layers, sizeof *copies);
    for (size_t i = 1; i < network->n_layers; i++) {
        const size_t size = network->layers[i].transposed_size;
        void *copy = take(c, size, network->itemsize);
        if (c->base) {
            copies[i] = copy;
            /* Nothing but the padding keeps these zeros. */
            memset(copy, 0, size * network->itemsize);
        }
    }
    return copies;
}

size_t fm_step_lay_out(const fm_network *network, const fm_samples *x, size_t batch_size,
                       void *base, fm_step *step, size_t **order)
{
    const size_t threads = step->split.threads;
    const size_t item = network->itemsize;
    const size_t batch = fm_min(batch_size, x->rows);
    const layer *first = &network->layers[0];
    cursor c = {base, 0};
    *order = take(&c, x->rows, sizeof **order);
    step->input_rows = step->split.by_columns ? batch : 0;
    if (!x->starts) {
        const size_t copies = step->split.by_columns ? threads : 1;
        step->input = take(&c, batch, copies * first->in_stride * item);
        step->rows = take(&c, batch, copies * sizeof *step->rows);
    }
    step->scratch = take(&c, threads, sizeof *step->scratch);
    step->panels = take(&c, threads, sizeof *step->panels);
    const size_t entries = x->starts ? most_entries(x, batch) : 0;
    for (size_t i = 0; i < threads; i++) {
        take_scratch(&c, network, x, batch, entries, step, base ? &step->scratch[i] : NULL);
        /* Any thread's, as fewer may come than were asked for. */
        for (size_t b = 0; b < step->n_buffers && step->split.by_columns; b++) {
            void *panel = take(&c, first->inputs, first->out_stride * item);
            if (base) {
                step->panels[i].of[b] = panel;
            }
        }
    }
    for (size_t i = 0; i < 2; i++) {
        step->first_output[i] = take(&c, batch, first->out_stride * item);
    }
    const size_t n_rests = step->split.replicated ? threads : 1;
    step->rests = take(&c, n_rests, sizeof *step->rests);
    for (size_t i = 0; i < n_rests; i++) {
        const fm_rest rest = take_rest(&c, network, batch, step);
        if (base) {
            step->rests[i] = rest;
        }
    }
    step->transposed = take(&c, threads, sizeof *step->transposed);
    for (size_t i = 0; i < threads && !step->split.by_layers; i++) {
        void **copies = take_transposed(&c, network);
        if (base) {
            step->transposed[i] = copies;
        }
    }
    if (step->loss->kind == FM_SOFTMAX_DICE || step->loss->kind == FM_BINARY_DICE) {
        const size_t outputs = fm_last_layer(network)->outputs;
        step->dice.both = take(&c, outputs, sizeof(double));
        step->dice.all = take(&c, outputs, sizeof(double));
        step->dice.constant = take(&c, outputs, item);
        step->dice.by_target = take(&c, outputs, item);
    }
    for (size_t i = 0; i < 2 && fm_has_penalty(step->optimizer); i++) {
        step->cells[i] = take(&c, network->n_cells, sizeof(double));
        if (base) {
            /* What rounds their number up stays so. */
            memset(step->cells[i], 0, network->n_cells * sizeof(double));
        }
    }
    if (step->optimizer && step->optimizer->clip_norm > 0) {
        step->gradient = take(&c, network->n_parameters, item);
        step->squares = take(&c, network->n_cells, sizeof(double));
        if (base) {
            memset(step->squares, 0, network->n_cells * sizeof(double));
        }
    }
    return c.used;
}

void fm_step_look_at_zeros(fm_step *step)
{
    if (step->x->starts) {
        return;
    }
    const fm_density density = fm_look_at_zeros(step->kernels, step->x, step->input,
                                                &step->scratch[0]);
    const double kept = 1 / fm_step_dropout(step, 0).factor;
    step->skip_forward = kept * density.elements < FM_DENSE_ENOUGH;
    step->skip_gradient = density.groups < FM_DENSE_ENOUGH;
    /* What packs its rows wants them side by side. Products of bytes are those that skip zeros. */
    const int own = step->x->dtype == step->network->dtype && !step->split.by_layers;
    const int bytes = step->x->dtype == FM_UINT8 && step->skip_forward && step->skip_gradient;
    step->in_place = kept == 1 && (own || bytes);
}
