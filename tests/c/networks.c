/* Training against the same steps in double: all ways to share a step, all kinds of samples. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "activations.h"
#include "check.h"
#include "parity.h"

enum { MOST_LAYERS = 3 };

typedef enum { OWN, OTHER, BYTES } kind; /* samples of the network's dtype, the other real, uint8 */

typedef struct {
    const char *name;
    size_t n_layers, widths[MOST_LAYERS + 1];
    fm_activation hidden, output;
    size_t batch, steps;
    kind kind;
    int zeros; /* of four groups of neighboring elements of x, and of four elements of the rest */
    int weighted;  /* samples */
    int custom;    /* the loss by a function */
    int all_rules; /* of optimizers, which see of a plan but how its work is split */
} plan;

/* The first is small beside its batch, the second is split by columns among threads, the third has
 * an input that is mostly zeros, as have the fourth and the fifth, of bytes, which takes one sample
 * at a time, the sixth more weights than a core caches, and the seventh a batch whose gradient is
 * taken in pieces. Four more have activations of the other kinds, which keep slopes or not, and one
 * has a batch of any size for all its samples. Those after have losses that see the whole batch. */
static const plan plans[] = {
    {"softmax", 3, {37, 33, 17, 10}, FM_RELU, FM_SOFTMAX, 16, 20, BYTES, 0, 0, 0, 1},
    {"sigmoid", 3, {96, 65, 31, 5}, FM_TANH, FM_SIGMOID, 64, 5, OWN, 0, 1, 0, 1},
    {"zeros", 2, {131, 64, 7}, FM_SIGMOID, FM_SOFTMAX, 63, 20, OWN, 3, 1, 0, 1},
    {"drawings", 2, {131, 64, 7}, FM_SIGMOID, FM_SOFTMAX, 63, 20, BYTES, 3, 1, 0, 1},
    {"drawing", 2, {131, 64, 7}, FM_SIGMOID, FM_SOFTMAX, 1, 20, BYTES, 3, 0, 0, 0},
    {"wide", 2, {390, 700, 9}, FM_RELU, FM_TANH, 10, 2, OWN, 0, 0, 0, 1},
    {"batch", 2, {21, 19, 3}, FM_IDENTITY, FM_IDENTITY, 600, 2, OTHER, 0, 0, 0, 1},
    {"slopes", 3, {96, 65, 31, 5}, FM_GELU, FM_SILU, 64, 5, OWN, 0, 1, 0, 0},
    {"slopes by layers", 2, {390, 700, 9}, FM_MISH, FM_GELU, 10, 2, OWN, 3, 0, 0, 0},
    {"from outputs", 3, {37, 33, 17, 10}, FM_SELU, FM_SOFTPLUS, 16, 20, BYTES, 0, 0, 0, 0},
    {"leaky", 3, {37, 33, 17, 10}, FM_LEAKY_RELU, FM_ELU, 16, 20, OTHER, 0, 0, 0, 0},
    {"one step", 2, {21, 19, 3}, FM_TANH, FM_SOFTMAX, 130, 1, OWN, 0, 1, 0, 1},
    {"rates", 2, {40, 64, 6}, FM_TANH, FM_EXP, 200, 3, OWN, 0, 1, 1, 0},
    {"columns", 3, {96, 65, 31, 5}, FM_TANH, FM_SOFTMAX, 64, 5, OWN, 0, 0, 1, 0},
    {"layers", 2, {390, 700, 9}, FM_RELU, FM_TANH, 10, 2, OWN, 0, 1, 1, 0},
};

typedef struct {
    const plan *plan;
    size_t n_parameters;
    fm_layer_layout at[MOST_LAYERS];
    /* Of one sample. */
    double *outputs[MOST_LAYERS + 1], *slopes[MOST_LAYERS + 1], *deltas[MOST_LAYERS + 1];
    double *parameters, *gradient;
} model;

static fm_activation activation_of(const plan *p, size_t layer)
{
    return layer + 1 == p->n_layers ? p->output : p->hidden;
}

static void forward(const model *m, const double *x)
{
    const plan *p = m->plan;
    memcpy(m->outputs[0], x, p->widths[0] * sizeof *x);
    for (size_t l = 0; l < p->n_layers; l++) {
        const size_t n = p->widths[l + 1];
        const double *weight = m->parameters + m->at[l].weight;
        double *y = m->outputs[l + 1], sum = 0;
        memcpy(y, m->parameters + m->at[l].bias, n * sizeof *y);
        for (size_t i = 0; i < p->widths[l]; i++) {
            for (size_t j = 0; j < n; j++) {
                y[j] += m->outputs[l][i] * weight[i * m->at[l].weight_stride + j];
            }
        }
        for (size_t j = 0; j < n; j++) {
            const fm_activation activation = activation_of(p, l);
            m->slopes[l + 1][j] = activation == FM_SOFTMAX ? 1 : slope_at(activation, y[j]);
            y[j] = activation == FM_SOFTMAX ? exp(y[j]) : activated(activation, y[j]);
            sum += y[j];
        }
        for (size_t j = 0; j < n && activation_of(p, l) == FM_SOFTMAX; j++) {
            y[j] /= sum;
        }
    }
}

/* A sample's loss, and the gradient of the last pre-activation. */
static double loss_of(const model *m, const double *target)
{
    const plan *p = m->plan;
    const size_t n = p->widths[p->n_layers];
    const double *y = m->outputs[p->n_layers];
    double *delta = m->deltas[p->n_layers], loss = 0;
    for (size_t j = 0; j < n; j++) {
        const double t = target[j], mean = 1 / (double)n;
        switch (p->output) {
        case FM_SOFTMAX:
            loss -= t * log(y[j]);
            delta[j] = y[j] - t;
            break;
        case FM_SIGMOID:
            loss -= (t * log(y[j]) + (1 - t) * log(1 - y[j])) * mean;
            delta[j] = (y[j] - t) * mean;
            break;
        case FM_EXP:
            loss += (y[j] - t * log(y[j])) * mean;
            delta[j] = (y[j] - t) * mean;
            break;
        default:
            loss += (y[j] - t) * (y[j] - t) * mean;
            delta[j] = 2 * (y[j] - t) * mean * m->slopes[p->n_layers][j];
        }
    }
    return loss;
}

/* Add `scale` times the gradient of the sample that forward has run. */
static void add_gradient(const model *m, double scale)
{
    const plan *p = m->plan;
    for (size_t l = p->n_layers; l-- > 0;) {
        const size_t n = p->widths[l + 1];
        const double *weight = m->parameters + m->at[l].weight, *delta = m->deltas[l + 1];
        double *gradient = m->gradient + m->at[l].weight;
        for (size_t j = 0; j < n; j++) {
            m->gradient[m->at[l].bias + j] += scale * delta[j];
        }
        for (size_t i = 0; i < p->widths[l]; i++) {
            const double y = m->outputs[l][i];
            double sum = 0;
            for (size_t j = 0; j < n; j++) {
                sum += delta[j] * weight[i * m->at[l].weight_stride + j];
                gradient[i * m->at[l].weight_stride + j] += scale * y * delta[j];
            }
            m->deltas[l][i] = l ? sum * m->slopes[l][i] : 0;
        }
    }
}

/* The mean loss of some samples, whose gradient is written. */
static double differentiate_plainly(const model *m, const double *x, const array *targets,
                                    const double *weights, const size_t *order, size_t count,
                                    double *total)
{
    double loss = 0;
    *total = 0;
    for (size_t i = 0; i < count; i++) {
        *total += weights[order[i]];
    }
    memset(m->gradient, 0, m->n_parameters * sizeof *m->gradient);
    for (size_t i = 0; i < count; i++) {
        forward(m, x + order[i] * m->plan->widths[0]);
        loss += weights[order[i]] * loss_of(m, targets->value + order[i] * targets->cols);
        add_gradient(m, weights[order[i]] / *total);
    }
    return loss / *total;
}

/* Rounding errors of one step, as a share of the largest terms: a sum over each layer's inputs,
 * outputs and batch, and its functions. */
static double error_of_step(const plan *p)
{
    double terms = 0;
    for (size_t l = 0; l < p->n_layers; l++) {
        terms += (double)(p->widths[l] + p->widths[l + 1] + p->batch) + 4 * library / unit;
    }
    return gamma_of(terms);
}

static model begin(const plan *p, const fm_network *network)
{
    model m = {.plan = p, .n_parameters = fm_network_parameters(network)};
    m.parameters = take(m.n_parameters * sizeof(double));
    m.gradient = take(m.n_parameters * sizeof(double));
    memset(m.parameters, 0, m.n_parameters * sizeof(double));
    for (size_t l = 0; l <= p->n_layers; l++) {
        m.outputs[l] = take(p->widths[l] * sizeof(double));
        m.slopes[l] = take(p->widths[l] * sizeof(double));
        m.deltas[l] = take(p->widths[l] * sizeof(double));
    }
    for (size_t l = 0; l < p->n_layers; l++) {
        expect(fm_network_layout(network, l, &m.at[l]) == FM_OK, "layout");
        for (size_t i = 0; i < p->widths[l]; i++) {
            double *row = m.parameters + m.at[l].weight + i * m.at[l].weight_stride;
            for (size_t j = 0; j < p->widths[l + 1]; j++) {
                row[j] = rounded(random_value(1.7 / sqrt((double)p->widths[l])));
            }
        }
    }
    return m;
}

/* The same samples, dense and compressed. */
typedef struct {
    fm_samples dense, compressed;
} inputs;

static fm_dtype dtype_of(kind k)
{
    return k == BYTES ? FM_UINT8 : (k == OTHER) == (dtype == FM_FLOAT32) ? FM_FLOAT64 : FM_FLOAT32;
}

static const void *encoded(const double *value, size_t n, fm_dtype as)
{
    uint8_t *bytes = take(n);
    float *singles = take(n * sizeof *singles);
    double *doubles = take(n * sizeof *doubles);
    for (size_t i = 0; i < n; i++) {
        bytes[i] = as == FM_UINT8 ? (uint8_t)lround(255 * value[i]) : 0;
        singles[i] = (float)value[i];
        doubles[i] = value[i];
    }
    return as == FM_UINT8 ? (void *)bytes : as == FM_FLOAT32 ? (void *)singles : (void *)doubles;
}

static inputs samples_of(const plan *p, size_t rows, double *x)
{
    const size_t cols = p->widths[0];
    const fm_dtype as = dtype_of(p->kind);
    int64_t *starts = take((rows + 1) * sizeof *starts);
    int32_t *columns = take(rows * cols * sizeof *columns);
    double *values = take(rows * cols * sizeof *values);
    size_t count = 0;
    starts[0] = 0;
    for (size_t i = 0; i < rows; i++) {
        int group_is_zero = 0;
        for (size_t j = 0; j < cols; j++) {
            double *v = &x[i * cols + j];
            if (j % 4 == 0) {
                group_is_zero = (int)(random_bits() >> 62) < p->zeros;
            }
            /* Single precision, which both dtypes hold. */
            *v = p->kind == BYTES ? (double)(random_bits() >> 56) / 255 : (float)random_value(1);
            if (group_is_zero || (int)(random_bits() >> 62) < p->zeros) {
                *v = 0;
            }
            if (*v != 0) {
                values[count] = *v;
                columns[count++] = (int32_t)j;
            }
        }
        starts[i + 1] = (int64_t)count;
    }
    return (inputs){{encoded(x, rows * cols, as), rows, cols, (ptrdiff_t)cols, NULL, NULL, as},
                    {encoded(values, count, as), rows, cols, 0, starts, columns, as}};
}

typedef struct {
    const fm_network *network;
    fm_activation output;
    fm_targets targets;
    fm_loss loss;
    fm_training training;
    array zeros;
    array start;             /* the parameters before */
    array gradient;          /* of the mean over all samples, there */
    array parameters;        /* the trained ones */
    array outputs;           /* of the trained network */
    array states[FM_STATES]; /* of an optimizer, zero */
    double *kept;            /* the same in the model */
    double mean, final_mean, error;
} run;

static fm_loss_kind loss_for(fm_activation output)
{
    return output == FM_SOFTMAX   ? FM_SOFTMAX_CROSS_ENTROPY
           : output == FM_SIGMOID ? FM_BINARY_CROSS_ENTROPY
           : output == FM_EXP     ? FM_POISSON
                                  : FM_MEAN_SQUARED_ERROR;
}

/* The loss that the output has, as a loss of the caller's own; the context is what all samples
 * have for targets. */
static int same_loss(void *context, const fm_matrix *predictions, const size_t *rows,
                     const fm_matrix *gradient, double *mean)
{
    const run *r = context;
    const size_t n = predictions->cols;
    double sum = 0, weight = 0;
    for (size_t i = 0; i < predictions->rows; i++) {
        weight += r->targets.weights ? r->targets.weights[rows[i]] : 1;
    }
    for (size_t i = 0; i < predictions->rows; i++) {
        const size_t bytes = (dtype == FM_FLOAT32 ? sizeof(float) : sizeof(double));
        const double own = r->targets.weights ? r->targets.weights[rows[i]] : 1;
        const int64_t *labels = r->targets.indices;
        fm_matrix z = *predictions, dz = *gradient, t = {0};
        z.data = (char *)z.data + i * (size_t)z.stride * bytes;
        dz.data = (char *)dz.data + i * (size_t)dz.stride * bytes;
        z.rows = dz.rows = 1;
        if (!labels) {
            t = *r->targets.values;
            t.data = (char *)t.data + rows[i] * (size_t)t.stride * bytes;
            t.rows = 1;
        }
        const fm_targets targets = {labels ? labels + rows[i] : NULL, labels ? NULL : &t, 1, NULL};
        const fm_loss loss = {.kind = loss_for(r->output), .scale = 1};
        double value;
        if (fm_loss_gradient(&loss, &z, &targets, &value, &dz)) {
            return 1;
        }
        for (size_t j = 0; j < n; j++) {
            if (dtype == FM_FLOAT32) {
                ((float *)dz.data)[j] *= (float)(own / weight);
            } else {
                ((double *)dz.data)[j] *= own / weight;
            }
        }
        sum += own * value;
    }
    *mean = sum / weight;
    return 0;
}

/* The gradient, training and prediction use workspaces of exactly the size that they ask for. */
static void differentiate(run *r, const fm_samples *x, const char *what)
{
    FOR_THREADS(threads)
    {
        fm_totals totals;
        const size_t size = fm_network_training_workspace(r->network, x, &r->loss, NULL, NULL,
                                                          x->rows, threads);
        void *workspace = aligned_alloc(FM_ALIGNMENT, size);
        /* The padding is not written. */
        memcpy(r->gradient.memory, r->zeros.memory, r->zeros.bytes);
        const fm_status status = fm_network_gradient(
            r->network, r->start.matrix.data, x, &r->targets, &r->loss, threads,
            r->gradient.matrix.data, workspace, size, &totals);
        free(workspace);
        compare(&r->gradient, status, what);
    }
}

static void train(run *r, const fm_samples *x, const char *what)
{
    FOR_THREADS(threads)
    {
        fm_totals totals = {0};
        const size_t batch = r->training.batch_size;
        const size_t size = fm_network_training_workspace(
            r->network, x, &r->loss, r->training.optimizer, NULL, batch, threads);
        void *workspace = aligned_alloc(FM_ALIGNMENT, size);
        memcpy(r->parameters.memory, r->start.memory, r->start.bytes);
        r->training.threads = threads;
        if (r->training.optimizer) {
            r->training.optimizer->steps = 0;
            put(&r->states[0]);
            put(&r->states[1]);
        }
        const fm_status status = fm_network_train_epoch(r->network, r->parameters.matrix.data, x,
                                                        &r->targets, &r->loss, &r->training,
                                                        workspace, size, &totals);
        free(workspace);
        compare(&r->parameters, status, what);
        compare_number(totals.loss / totals.weight, r->mean, r->error, "loss");
    }
}

/* A step of an optimizer, by its formula; s0 and s1 are what it keeps. */
static double step_of(const fm_optimizer *o, double lr, double t, double w, double g, double *s0,
                      double *s1)
{
    const int adam = o->kind == FM_UPDATE_ADAM || o->kind == FM_UPDATE_ADAMW;
    if (o->kind == FM_UPDATE_MOMENTUM || o->kind == FM_UPDATE_NESTEROV) {
        *s0 = o->beta1 * *s0 - lr * g;
        return w + (o->kind == FM_UPDATE_NESTEROV ? o->beta1 * *s0 - lr * g : *s0);
    }
    if (!adam) {
        *s0 = o->beta2 * *s0 + (1 - o->beta2) * g * g;
        const double step = -lr * g / (sqrt(*s0) + o->epsilon);
        *s1 = o->kind == FM_UPDATE_RMSPROP ? step : o->beta1 * *s1 + step;
        return w + *s1;
    }
    *s0 = o->beta1 * *s0 + (1 - o->beta1) * g;
    *s1 = o->beta2 * *s1 + (1 - o->beta2) * g * g;
    const double decay = o->kind == FM_UPDATE_ADAMW ? lr * o->weight_decay * w : 0;
    const double unbiased = *s1 / (1 - pow(o->beta2, t));
    return w - decay - lr * *s0 / (1 - pow(o->beta1, t)) / (sqrt(unbiased) + o->epsilon);
}

/* An epoch with an optimizer, in the model and then in the network. An epsilon of 1 keeps the error
 * of a quotient at that of the gradient. */
static void optimize(run *r, model *m, const double *x, const array *t, const double *weights,
                     const size_t *order, const inputs *in, fm_update_kind rule)
{
    static const char *const names[FM_UPDATES] = {
        "", "momentum", "nesterov", "adam", "adamw", "rmsprop", "rmsprop with momentum"};
    const plan *p = m->plan;
    const size_t n = m->n_parameters;
    fm_optimizer o = {.kind = rule, .beta1 = 0.8, .beta2 = 0.9, .epsilon = 1, .weight_decay = 0.5};
    double *kept = r->kept, all = 0, total;
    memset(kept, 0, FM_STATES * n * sizeof *kept);
    memcpy(m->parameters, r->start.value, n * sizeof *m->parameters);
    r->mean = 0;
    for (size_t step = 0; step < p->steps; step++) {
        const double mean = differentiate_plainly(m, x, t, weights, order + step * p->batch,
                                                  p->batch, &total);
        r->mean += mean * total;
        all += total;
        for (size_t i = 0; i < n; i++) {
            m->parameters[i] = step_of(&o, r->training.lr, (double)(step + 1), m->parameters[i],
                                       m->gradient[i], &kept[i], &kept[n + i]);
        }
    }
    r->mean /= all;
    for (size_t i = 0; i < n; i++) {
        /* Momentum makes up to 1 / (1 - 0.8) of an error. */
        r->parameters.value[i] = m->parameters[i];
        r->parameters.bound[i] = 5 * r->training.lr * r->error +
                                 2 * (double)p->steps * unit * fabs(m->parameters[i]);
    }
    r->parameters.first = NULL;
    for (size_t s = 0; s < FM_STATES; s++) {
        o.state[s] = r->states[s].matrix.data;
    }
    r->training.optimizer = &o;
    train(r, &in->dense, names[rule]);
    train(r, &in->compressed, names[rule]);
    r->training.optimizer = NULL;
}

static void predict(run *r, const fm_samples *x, const char *what)
{
    FOR_THREADS(threads)
    {
        const size_t size = fm_network_inference_workspace(r->network, x->rows);
        void *workspace = aligned_alloc(FM_ALIGNMENT, size);
        clear(&r->outputs);
        const fm_status status = fm_network_predict(r->network, r->parameters.matrix.data, x, 0,
                                                    &r->outputs.matrix, workspace, size);
        free(workspace);
        compare(&r->outputs, status, what);
    }
}

static void evaluate(const run *r, const fm_samples *x, const char *what)
{
    FOR_THREADS(threads)
    {
        const size_t size = fm_network_inference_workspace(r->network, x->rows);
        void *workspace = aligned_alloc(FM_ALIGNMENT, size);
        fm_totals totals = {0};
        const fm_status status = fm_network_evaluate(r->network, r->parameters.matrix.data, x,
                                                     &r->targets, &r->loss, workspace, size,
                                                     &totals);
        free(workspace);
        expect(status == FM_OK, what);
        compare_number(totals.loss / totals.weight, r->final_mean, r->error, what);
    }
}

static void check_plan(const plan *p)
{
    begin_case("network %s", p->name);
    gap = 0; /* parameters have none */
    fm_dense_spec specs[MOST_LAYERS];
    for (size_t l = 0; l < p->n_layers; l++) {
        specs[l] = (fm_dense_spec){p->widths[l], p->widths[l + 1], activation_of(p, l)};
    }
    fm_network *network;
    const fm_status status = fm_network_create(dtype, specs, p->n_layers, &network);
    expect(status == FM_OK, "create");
    if (status) {
        return;
    }
    model m = begin(p, network);
    const size_t rows = p->batch * p->steps, classes = p->widths[p->n_layers];
    double *x = take(rows * p->widths[0] * sizeof *x);
    const inputs in = samples_of(p, rows, x);
    const array t = argument(rows, classes, 1);
    int64_t *labels = take(rows * sizeof *labels);
    double *weights = take(rows * sizeof *weights), all = 0, total;
    for (size_t i = 0; i < rows; i++) {
        labels[i] = (int64_t)(random_bits() % classes);
        weights[i] = p->weighted ? (double)(random_bits() % 4) / 2 : 1;
        all += weights[i];
        for (size_t j = 0; j < classes; j++) {
            double *v = &t.value[i * classes + j];
            *v = p->output == FM_SOFTMAX ? (int64_t)j == labels[i] : fabs(*v);
        }
    }
    put(&t);
    const int by_index = p->output == FM_SOFTMAX;
    run r = {.network = network,
             .output = p->output,
             .targets = {by_index ? labels : NULL, by_index ? NULL : &t.matrix, rows,
                         p->weighted ? weights : NULL},
             .loss = {.kind = p->custom ? FM_CUSTOM_LOSS : loss_for(p->output),
                      .scale = 1,
                      .function = same_loss,
                      .context = &r},
             .training = {.batch_size = p->steps > 1 ? p->batch : SIZE_MAX,
                          .lr = 0.1,
                          .shuffle = 1,
                          .seed = 5,
                          .epoch = 2},
             .start = argument(1, m.n_parameters, 1),
             .zeros = argument(1, m.n_parameters, 0),
             .gradient = result(1, m.n_parameters),
             .parameters = result(1, m.n_parameters),
             .outputs = result(rows, classes),
             .states = {argument(1, m.n_parameters, 0), argument(1, m.n_parameters, 0)},
             .kept = take(FM_STATES * m.n_parameters * sizeof(double))};
    memcpy(r.start.value, m.parameters, m.n_parameters * sizeof *m.parameters);
    put(&r.start);

    size_t *order = take(rows * sizeof *order);
    for (size_t i = 0; i < rows; i++) {
        order[i] = i;
    }
    differentiate_plainly(&m, x, &t, weights, order, rows, &total);
    memcpy(r.gradient.value, m.gradient, m.n_parameters * sizeof *m.gradient);
    fm_shuffle(rows, r.training.seed, r.training.epoch, r.training.part, order);
    for (size_t first = 0; first < rows; first += p->batch) {
        const double mean = differentiate_plainly(&m, x, &t, weights, order + first, p->batch,
                                                  &total);
        r.mean += mean * total / all;
        for (size_t i = 0; i < m.n_parameters; i++) {
            m.parameters[i] -= r.training.lr * m.gradient[i];
        }
    }
    /* The terms of all these sums are of the order of one, and the steps too short to make an
     * error grow by much more than they add to it. */
    r.error = (double)p->steps * error_of_step(p);
    for (size_t i = 0; i < m.n_parameters; i++) {
        r.gradient.bound[i] = r.error / (double)p->steps;
        r.parameters.value[i] = m.parameters[i];
        r.parameters.bound[i] = r.training.lr * r.error + 2 * unit * fabs(m.parameters[i]);
    }
    for (size_t i = 0; i < rows; i++) {
        forward(&m, x + i * p->widths[0]);
        r.final_mean += weights[i] * loss_of(&m, t.value + i * classes) / all;
        for (size_t j = 0; j < classes; j++) {
            r.outputs.value[i * classes + j] = m.outputs[p->n_layers][j];
            r.outputs.bound[i * classes + j] = r.error;
        }
    }
    differentiate(&r, &in.dense, "gradient");
    differentiate(&r, &in.compressed, "gradient, compressed");
    train(&r, &in.dense, "training");
    train(&r, &in.compressed, "training, compressed");
    predict(&r, &in.dense, "prediction");
    predict(&r, &in.compressed, "prediction, compressed");
    const fm_loss loss = r.loss;
    r.loss.kind = loss_for(p->output); /* one over the batch cannot be evaluated */
    evaluate(&r, &in.dense, "evaluation");
    evaluate(&r, &in.compressed, "evaluation, compressed");
    r.loss = loss;
    const fm_update_kind end = p->all_rules ? FM_UPDATES : FM_UPDATE_NESTEROV;
    for (fm_update_kind rule = FM_UPDATE_MOMENTUM; rule < end; rule++) {
        optimize(&r, &m, x, &t, weights, order, &in, rule);
    }
    fm_network_free(network);
}

void check_networks(void)
{
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
        check_plan(&plans[i]);
    }
}
