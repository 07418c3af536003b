/* How threads share a training step: a model of what each way costs.
 *
 * A weight or an activation that one core has written must travel to every core that reads it, a
 * cache line at a time, and threads that need each other's results must meet. The model weighs
 * these, by what they are measured to cost, against the arithmetic that is saved. Where that is
 * close, a training tries: see ways.h. None of the ways changes an element's arithmetic, so the
 * choice affects time alone. */
#include "split.h"

/* Measured on two cores with AVX-512: 90 to 100 operations a nanosecond for 16 lanes; weights
 * streamed from the second-level cache at about 100 bytes a nanosecond; a meeting in 0.2 us, and up
 * to 2 us with the wait for the last to come, between near cores, and 3 to 10 us between cores that
 * share no cache, where a line takes 50 ns. With these, the differences between shared and
 * replicated steps of eighteen networks on near cores, of 1 to 25 us, come out on the right side,
 * and of seven on cores far apart. `python -m bench --only train` shows what a change of these
 * does. */
static const double operations_per_lane_and_nanosecond = 6;
static const double bytes_per_nanosecond = 100;
static const double nanoseconds_per_meeting = 1600, lines_per_meeting = 100;
/* A sample's loss: what does not depend on its outputs, and what does, for one lane; 26 ns for ten
 * outputs in float64. Losses that take row after row, as focal or of more outputs, cost a few times
 * that, which is not counted. */
static const double nanoseconds_per_loss = 6;
static const double lane_nanoseconds_per_output = 16;
/* What a sample costs in each layer past the first beside its products: activations, their
 * derivatives, the ends of tiles. */
static const double nanoseconds_per_row = 30;

/* More threads must take less than this share of the time of fewer: what they hardly use may serve
 * somebody else. */
static const double worthwhile = 0.85;

/* How often a step passes over a weight of the first layer: forward, and the gradient's update,
 * which reads and writes it. The other layers' have a transposed copy besides, which every thread
 * makes. */
enum { FIRST_PASSES = 3, REST_PASSES = 6, COPY_PASSES = 2 };

/* Up to this many samples for each column of the first layer, moving the layer's output from core
 * to core is cheaper than moving its weights: a weight goes there and back, an output there and
 * its gradient back, for an input and a sample each. Up to so many samples in all, it costs no more
 * than 3 % between near cores, and between others saves up to a quarter of a step; beyond, every
 * thread's own copies of the batch would need too much memory. */
enum { SAMPLES_PER_COLUMN = 2, SAMPLES = 2048 };

/* Parameters of more bytes than a core caches are better read once, for all samples of the batch,
 * than once for each block of rows; not so where the batch is large beside them, and would itself
 * travel. */
enum { LAYER_BYTES = 1 << 20, LAYER_SAMPLES = 1024 };

typedef struct {
    double first, second,
        rest;              /* weights of the first, the second, and all layers past the first */
    double batch, outputs; /* samples, and the first layer's outputs */
    double widths;         /* outputs of the layers past the first, together */
    double item, rate;     /* bytes of an element, operations in a nanosecond */
    double rows;           /* nanoseconds that the batch's rows take past the first layer, beside
                              products: its losses among them */
    double line;           /* nanoseconds for a cache line from another core */
} sizes;

static double travel(const sizes *s, double elements, double threads)
{
    return elements * s->item * (1 - 1 / threads) / FM_ALIGNMENT * s->line;
}

static double meetings(const sizes *s, double count)
{
    return count * (nanoseconds_per_meeting + lines_per_meeting * s->line);
}

static double work(const sizes *s, double operations, double weights_passed)
{
    return operations / s->rate + weights_passed * s->item / bytes_per_nanosecond;
}

/* Forward and gradient of the first layer; forward, gradient and backward of the others. */
static double alone(const sizes *s)
{
    return s->rows + work(s, s->batch * (4 * s->first + 6 * s->rest),
                          FIRST_PASSES * s->first + REST_PASSES * s->rest);
}

/* All work is shared: the weights past the first layer travel, or of the first layer too where that
 * is not split by columns, and so do outputs and deltas. */
static double shared(const sizes *s, double threads, int by_columns)
{
    const double weights = s->rest + (by_columns ? 0 : s->first);
    const double activations = 2 * s->batch * (s->widths + (by_columns ? s->outputs : 0));
    const double copies = work(s, 0, COPY_PASSES * s->rest);
    return (alone(s) - copies) / threads + copies + meetings(s, 2) +
           travel(s, weights + activations, threads);
}

/* The first layer is shared, and so is the way back to it; the rest is done by everyone. */
static double replicated(const sizes *s, double threads)
{
    const double split = work(s, s->batch * (4 * s->first + 2 * s->second),
                              FIRST_PASSES * s->first);
    const double rest = work(s, s->batch * (6 * s->rest - 2 * s->second), REST_PASSES * s->rest);
    return split / threads + rest + s->rows + meetings(s, 1) +
           travel(s, s->batch * s->outputs, threads);
}

static sizes sizes_of(const fm_network *network, size_t batch, size_t lanes, int exchange)
{
    sizes s = {.batch = (double)batch,
               .outputs = (double)network->layers[0].outputs,
               .item = (double)network->itemsize,
               .rate = operations_per_lane_and_nanosecond * (double)lanes,
               .line = (double)(1 << exchange)};
    const int halves = lanes * network->itemsize == FM_ALIGNMENT;
    for (size_t i = 0; i < network->n_layers; i++) {
        const layer *l = &network->layers[i];
        const size_t filled = halves ? fm_filled(l->outputs, l->out_stride, network->itemsize)
                                     : l->out_stride;
        /* Whole lines, or a half at the end: a single output takes the time of that. */
        const double weights = (double)l->inputs * (double)filled;
        *(i ? &s.rest : &s.first) += weights;
        if (i == 1) {
            s.second = weights;
        }
        s.widths += i ? (double)l->outputs : 0;
    }
    const double outputs = (double)fm_last_layer(network)->outputs;
    const double loss = nanoseconds_per_loss +
                        lane_nanoseconds_per_output / (double)lanes * outputs;
    s.rows = s.batch * (loss + nanoseconds_per_row * (double)(network->n_layers - 1));
    return s;
}

fm_split fm_split_of(const fm_network *network, size_t lanes, size_t batch, size_t threads,
                     int may_replicate, int exchange)
{
    const layer *first = &network->layers[0];
    const sizes s = sizes_of(network, batch, lanes, exchange);
    const int large = network->n_parameters * network->itemsize > LAYER_BYTES &&
                      batch <= LAYER_SAMPLES;
    const double single = alone(&s);
    fm_split best = {.threads = 1, .by_layers = large};
    double least = single;
    for (size_t t = 2; t <= threads; t++) {
        fm_split split = {.threads = t};
        split.by_columns = batch <= fm_max(SAMPLES_PER_COLUMN * first->out_stride, SAMPLES) &&
                           first->out_stride * network->itemsize >= t * FM_ALIGNMENT;
        double cost = shared(&s, (double)t, split.by_columns);
        if (split.by_columns && may_replicate && network->n_layers > 1) {
            const double other = replicated(&s, (double)t);
            split.replicated = other < cost;
            cost = split.replicated ? other : cost;
        }
        split.by_layers = large && !split.replicated;
        if (cost < worthwhile * least) {
            least = cost;
            best = split;
        }
    }
    best.seconds = 1e-9 * least;
    best.alone = 1e-9 * single;
    return best;
}
