/* Penalties, clipping, limits to norms and averages in training, against one linear layer in
 * double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "parity.h"

enum { BATCH = 8, STEPS = 4, ROWS = BATCH * STEPS };
static const double rate = 0.01;

/* All sizes are odd to some vector, and some have more than one cell. */
static const size_t widths[][2] = {{1, 1}, {15, 7}, {16, 16}, {17, 33}, {33, 65}, {300, 130}};

static const fm_optimizer variants[] = {
    {.l2 = 0.3},
    {.l1 = 0.2, .l2 = 0.3},
    {.l2 = 0.3, .penalty_per_sample = 1},
    {.clip_norm = 0.1},
    {.max_norm = 0.5},
    {.ema = 0.7},
    {.l1 = 0.2, .l2 = 0.3, .clip_norm = 0.1, .max_norm = 0.5, .ema = 0.7},
};

/* y = x w + b with the mean squared error; the last row of w is b. */
typedef struct {
    size_t inputs, outputs;
    double *w, *gradient, *average, *state;
} model;

/* The mean loss of a batch, and its gradient. */
static double differentiate(const model *m, const double *x, const double *t)
{
    const size_t n = m->outputs, k = m->inputs;
    double loss = 0;
    memset(m->gradient, 0, (k + 1) * n * sizeof *m->gradient);
    for (size_t i = 0; i < BATCH; i++) {
        for (size_t j = 0; j < n; j++) {
            double y = m->w[k * n + j];
            for (size_t p = 0; p < k; p++) {
                y += x[i * k + p] * m->w[p * n + j];
            }
            const double e = y - t[i * n + j], share = 1 / (double)(BATCH * n);
            loss += e * e * share;
            for (size_t p = 0; p < k; p++) {
                m->gradient[p * n + j] += 2 * e * share * x[i * k + p];
            }
            m->gradient[k * n + j] += 2 * e * share;
        }
    }
    return loss;
}

/* The penalty, whose gradient is added. */
static double penalize(const model *m, const fm_optimizer *o)
{
    const double share = o->penalty_per_sample ? 1.0 / BATCH : 1;
    double penalty = 0;
    for (size_t i = 0; i < m->inputs * m->outputs; i++) {
        const double w = m->w[i];
        penalty += share * (o->l1 * fabs(w) + o->l2 / 2 * w * w);
        m->gradient[i] += share * (o->l1 * ((w > 0) - (w < 0)) + o->l2 * w);
    }
    return penalty;
}

static void clip(const model *m, double limit)
{
    const size_t count = (m->inputs + 1) * m->outputs;
    double squares = 0;
    for (size_t i = 0; i < count; i++) {
        squares += m->gradient[i] * m->gradient[i];
    }
    for (size_t i = 0; i < count && sqrt(squares) > limit; i++) {
        m->gradient[i] *= limit / sqrt(squares);
    }
}

static void limit_norms(const model *m, double limit)
{
    for (size_t j = 0; j < m->outputs; j++) {
        double squares = 0;
        for (size_t p = 0; p < m->inputs; p++) {
            squares += m->w[p * m->outputs + j] * m->w[p * m->outputs + j];
        }
        for (size_t p = 0; p < m->inputs && sqrt(squares) > limit; p++) {
            m->w[p * m->outputs + j] *= limit / sqrt(squares);
        }
    }
}

/* A step of plain descent or, with something to remember, of momentum. */
static void step(const model *m, const fm_optimizer *o)
{
    for (size_t i = 0; i < (m->inputs + 1) * m->outputs; i++) {
        m->state[i] = o->beta1 * m->state[i] - rate * m->gradient[i];
        m->w[i] += m->state[i];
    }
    if (o->max_norm > 0) {
        limit_norms(m, o->max_norm);
    }
    for (size_t i = 0; i < (m->inputs + 1) * m->outputs; i++) {
        m->average[i] = o->ema * m->average[i] + (1 - o->ema) * m->w[i];
    }
}

/* Write the model's parameters where the network has them. */
static void lay_out(const model *m, const double *w, fm_layer_layout at, double bound,
                    const array *to)
{
    memset(to->value, 0, to->cols * sizeof *to->value);
    for (size_t i = 0; to->bound && i < to->cols; i++) {
        to->bound[i] = bound;
    }
    for (size_t p = 0; p <= m->inputs; p++) {
        memcpy(to->value + (p < m->inputs ? at.weight + p * at.weight_stride : at.bias),
               w + p * m->outputs, m->outputs * sizeof *w);
    }
}

static void check_variant(size_t inputs, size_t outputs, fm_update_kind kind, fm_optimizer o)
{
    begin_case("%zu to %zu, rule %d, l1 %g, l2 %g, clip %g, norm %g, ema %g", inputs, outputs,
               (int)kind, o.l1, o.l2, o.clip_norm, o.max_norm, o.ema);
    gap = 0;
    const size_t count = (inputs + 1) * outputs;
    const fm_dense_spec spec = {inputs, outputs, FM_IDENTITY};
    fm_network *network;
    fm_layer_layout at;
    expect(fm_network_create(dtype, &spec, 1, &network) == FM_OK, "create");
    expect(fm_network_layout(network, 0, &at) == FM_OK, "layout");
    const size_t n = fm_network_parameters(network);
    const array x = argument(ROWS, inputs, 1), t = argument(ROWS, outputs, 1);
    const array start = argument(1, n, 0), state = argument(1, n, 0);
    array parameters = result(1, n), average = result(1, n);
    model m = {inputs,
               outputs,
               take(count * sizeof(double)),
               take(count * sizeof(double)),
               take(count * sizeof(double)),
               take(count * sizeof(double))};
    for (size_t i = 0; i < count; i++) {
        /* So far from 0 that no step leads past it, where the penalty has a jump. */
        const double value = random_value(0.3);
        m.w[i] = rounded(value + (value > 0 ? 0.1 : -0.1));
        m.average[i] = m.w[i];
        m.state[i] = 0;
    }
    lay_out(&m, m.w, at, 0, &start);
    put(&start);
    o.kind = kind;
    o.beta1 = kind == FM_UPDATE_MOMENTUM ? 0.5 : 0;
    double loss = 0, penalty = 0;
    for (size_t s = 0; s < STEPS; s++) {
        loss += BATCH *
                differentiate(&m, x.value + s * BATCH * inputs, t.value + s * BATCH * outputs);
        penalty += BATCH * penalize(&m, &o);
        if (o.clip_norm > 0) {
            clip(&m, o.clip_norm);
        }
        step(&m, &o);
    }
    /* Sums of terms of the order of one, over inputs, a batch, and what a norm adds up; a step
     * rounds parameters of that order some times. */
    const double error = gamma_of((double)(inputs + outputs + BATCH) + 40);
    const double bound = STEPS * (2 * rate * (double)(inputs + 1) * error + 8 * unit +
                                  (o.max_norm > 0 ? error : 0));
    lay_out(&m, m.w, at, bound, &parameters);
    lay_out(&m, m.average, at, bound, &average);
    o.state[0] = state.matrix.data;
    o.average = average.matrix.data;
    const fm_samples samples = {x.matrix.data, ROWS, inputs, (ptrdiff_t)inputs, NULL, NULL, dtype};
    const fm_targets targets = {NULL, &t.matrix, ROWS, NULL};
    const fm_loss mse = {.kind = FM_MEAN_SQUARED_ERROR, .scale = 1};
    FOR_THREADS(threads)
    {
        fm_totals totals = {0};
        const double rates[STEPS] = {rate, rate, rate, rate};
        const fm_training training = {
            .batch_size = BATCH, .threads = threads, .rates = rates, .optimizer = &o};
        const size_t size = fm_network_training_workspace(network, &samples, &mse, &o, NULL, BATCH,
                                                          threads);
        void *workspace = aligned_alloc(FM_ALIGNMENT, size);
        memcpy(parameters.memory, start.memory, start.bytes);
        memcpy(average.memory, start.memory, start.bytes);
        put(&state);
        const fm_status status = fm_network_train_epoch(network, parameters.matrix.data, &samples,
                                                        &targets, &mse, &training, workspace, size,
                                                        &totals);
        free(workspace);
        compare(&parameters, status, "parameters");
        if (o.ema > 0) {
            compare(&average, status, "averages");
        }
        const double slack = (double)(count * BATCH) * STEPS * (bound + error);
        compare_number(totals.loss, loss, slack, "loss");
        compare_number(totals.penalty, penalty, slack, "penalty");
    }
    fm_network_free(network);
}

void check_regularized(void)
{
    for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
        for (size_t v = 0; v < sizeof variants / sizeof variants[0]; v++) {
            check_variant(widths[w][0], widths[w][1], FM_UPDATE_SGD, variants[v]);
            check_variant(widths[w][0], widths[w][1], FM_UPDATE_MOMENTUM, variants[v]);
        }
    }
}
