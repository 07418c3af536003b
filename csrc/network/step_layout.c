/* The buffers of a training step, and how it goes about its first layer. */
#include <string.h>

#include "step.h"

/* Up to this many samples for each column of the first layer, moving the layer's output from core
 * to core is cheaper than moving its weights: a weight goes there and back, an output there and
 * its gradient back, for an input and a sample each. */
enum { SAMPLES_PER_COLUMN = 2 };

/* Parameters of more bytes than a core caches are better read once by all threads together than by
 * each for its rows; not so where the batch is large beside them, and would itself travel. */
enum { LAYER_BYTES = 1 << 20, LAYER_SAMPLES = 1024 };

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

static void take_scratch(cursor *c, const fm_network *network, size_t batch, fm_scratch *scratch)
{
    const layer *l = &network->layers[0];
    const size_t room = l->in_stride + FM_ALIGNMENT, words = (batch + 31) / 32;
    fm_scratch s = {0};
    for (int i = 0; i < 2; i++) {
        s.index[i] = take(c, room, sizeof(uint32_t));
        s.value[i] = take(c, room, network->itemsize);
    }
    s.marks_stride = (l->inputs + FM_MARK_GROUP - 1) / FM_MARK_GROUP;
    s.marks = take(c, words * s.marks_stride, sizeof(uint32_t));
    s.list = take(c, 32 * words, sizeof(uint32_t));
    if (batch > FM_GRADIENT_SAMPLES) {
        s.sums = take(c, FM_GRADIENT_INPUTS * network->widest, network->itemsize);
    }
    if (c->base) {
        *scratch = s;
    }
}

size_t fm_step_lay_out(const fm_network *network, size_t n_samples, size_t batch_size,
                       size_t threads, void *base, fm_step *step, size_t **order)
{
    const size_t item = network->itemsize, n_layers = network->n_layers;
    const size_t batch = fm_min(batch_size, n_samples);
    const layer *first = &network->layers[0];
    cursor c = {base, 0};
    *order = take(&c, n_samples, sizeof **order);
    step->by_columns = threads > 1 && batch <= SAMPLES_PER_COLUMN * first->out_stride &&
                       first->out_stride * item >= threads * FM_ALIGNMENT;
    step->by_layers = threads > 1 && batch <= LAYER_SAMPLES &&
                      network->n_parameters * item > LAYER_BYTES;
    step->input_size = step->by_columns ? batch * first->in_stride : 0;
    step->input = take(&c, batch, (step->by_columns ? threads : 1) * first->in_stride * item);
    step->losses = take(&c, batch, sizeof *step->losses);
    step->correct = take(&c, batch, 1);
    step->outputs = take(&c, n_layers, sizeof(void *));
    step->deltas = take(&c, n_layers, sizeof(void *));
    step->transposed = take(&c, n_layers, sizeof(void *));
    step->scratch = take(&c, threads, sizeof *step->scratch);
    step->panels = take(&c, threads, sizeof *step->panels);
    for (size_t i = 0; i < threads; i++) {
        take_scratch(&c, network, batch, base ? &step->scratch[i] : NULL);
        /* Any thread's, as fewer may come than were asked for. */
        void *panel = step->by_columns ? take(&c, first->inputs, first->out_stride * item) : NULL;
        if (base) {
            step->panels[i] = panel;
        }
    }
    for (size_t i = 0; i < n_layers; i++) {
        const layer *l = &network->layers[i];
        void *output = take(&c, batch, l->out_stride * item);
        void *delta = take(&c, batch, l->out_stride * item);
        void *transposed = i ? take(&c, l->transposed_size, item) : NULL;
        if (i == 0) {
            step->first_output[0] = output;
            step->first_output[1] = take(&c, batch, l->out_stride * item);
        }
        if (base) {
            step->outputs[i] = output;
            step->deltas[i] = delta;
            step->transposed[i] = transposed;
            if (transposed) {
                /* Nothing but the padding keeps these zeros. */
                memset(transposed, 0, l->transposed_size * item);
            }
        }
    }
    return c.used;
}

void fm_step_look_at_zeros(fm_step *step)
{
    const fm_density density = fm_look_at_zeros(step->kernels, step->x, step->input,
                                                &step->scratch[0]);
    step->skip_forward = density.elements < FM_DENSE_ENOUGH;
    step->skip_gradient = density.groups < FM_DENSE_ENOUGH;
}
