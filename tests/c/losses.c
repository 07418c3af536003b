/* Losses against their formulas in double, with weights of outputs and of samples. */
#include <math.h>
#include <string.h>

#include "check.h"
#include "parity.h"

enum { MOST_OUTPUTS = 320, MAX_LANES = 16 };
/* Of the logits. */
static const double range = 12;

typedef struct {
    fm_loss_kind kind;
    double parameter;
    int weighted; /* by output */
} loss_case;

static const loss_case cases[] = {
    {FM_SOFTMAX_CROSS_ENTROPY, 0.1, 0},
    {FM_SOFTMAX_CROSS_ENTROPY, 1, 0},
    {FM_BINARY_CROSS_ENTROPY, 0, 1},
    {FM_SOFTMAX_FOCAL, 0, 1},
    {FM_SOFTMAX_FOCAL, 0.5, 0},
    {FM_SOFTMAX_FOCAL, 2, 1},
    {FM_BINARY_FOCAL, 0, 1},
    {FM_BINARY_FOCAL, 1.5, 1},
    {FM_BINARY_FOCAL, 2, 0},
    {FM_SOFTMAX_DICE, 1, 0},
    {FM_BINARY_DICE, 0, 0},
    {FM_SOFTMAX_ELEMENT_DICE, 0, 0},
    {FM_SOFTMAX_ELEMENT_DICE, 1, 0},
    {FM_BINARY_ELEMENT_DICE, 0.5, 0},
    {FM_MEAN_ABSOLUTE_ERROR, 0, 0},
    {FM_HUBER, 0.4, 0},
    {FM_POISSON, 0, 0},
};

static int is_of_softmax(fm_loss_kind kind)
{
    return kind == FM_SOFTMAX_CROSS_ENTROPY || kind == FM_SOFTMAX_FOCAL ||
           kind == FM_SOFTMAX_DICE || kind == FM_SOFTMAX_ELEMENT_DICE;
}

static int is_of_batch(fm_loss_kind kind)
{
    return kind == FM_SOFTMAX_DICE || kind == FM_BINARY_DICE;
}

/* A row's loss and gradient; the magnitudes are sums of the absolute values of what they are sums
 * and differences of. */
typedef struct {
    double loss, loss_magnitude;
    double gradient[MOST_OUTPUTS], magnitude[MOST_OUTPUTS];
} row_loss;

/* y, 1 - y, -log y, -log(1 - y) */
typedef struct {
    double y[MOST_OUTPUTS], rest[MOST_OUTPUTS], minus_log[MOST_OUTPUTS], log_rest[MOST_OUTPUTS];
} outputs;

static outputs outputs_of(int softmax, size_t n, const double *z)
{
    outputs o;
    double e[MOST_OUTPUTS], rest = 0;
    size_t top = 0;
    for (size_t j = 0; j < n; j++) {
        top = z[j] > z[top] ? j : top;
    }
    for (size_t j = 0; j < n; j++) {
        e[j] = exp(z[j] - z[top]);
        rest += j == top ? 0 : e[j];
    }
    for (size_t j = 0; j < n; j++) {
        const double sum = j == top ? rest : rest - e[j] + 1;
        const double others = softmax ? sum / e[j] : exp(-z[j]);
        o.y[j] = 1 / (1 + others);
        o.rest[j] = others / (1 + others);
        o.minus_log[j] = log1p(others);
        o.log_rest[j] = log1p(1 / others);
    }
    return o;
}

/* From slopes by y, b - a t, of magnitudes b + a t, the gradient by z. */
static void through_outputs(int softmax, size_t n, const outputs *o, const double *slope,
                            const double *magnitude, row_loss *r)
{
    double total = 0;
    for (size_t j = 0; j < n; j++) {
        total += o->y[j] * magnitude[j];
    }
    for (size_t j = 0; j < n; j++) {
        double g = slope[j] * o->rest[j];
        for (size_t k = 0; k < n && softmax; k++) {
            g -= k == j ? 0 : slope[k] * o->y[k];
        }
        r->gradient[j] = o->y[j] * g;
        r->magnitude[j] = o->y[j] * magnitude[j] * (softmax ? 1 : o->rest[j]);
        /* That of a likely class is what the others leave. */
        r->magnitude[j] += softmax ? (o->y[j] > 0.4 ? 2 : o->y[j]) * total : 0;
    }
}

static void softmax_row(const loss_case *c, size_t n, const double *z, const double *t,
                        const double *a, row_loss *r)
{
    const double e = c->parameter;
    const outputs o = outputs_of(1, n, z);
    double weight = 0, slopes[MOST_OUTPUTS], slope = 0;
    for (size_t j = 0; j < n; j++) {
        weight += t[j];
    }
    for (size_t j = 0; j < n; j++) {
        if (c->kind == FM_SOFTMAX_CROSS_ENTROPY) {
            slopes[j] = (1 - e) * t[j] + e / (double)n * weight;
            r->loss += slopes[j] * o.minus_log[j];
        } else {
            const double power = a[j] * t[j] * pow(o.rest[j], e);
            const double ratio = o.rest[j] > 0 ? o.minus_log[j] / o.rest[j] : 1;
            slopes[j] = power * (1 + e * o.y[j] * ratio);
            r->loss += power * o.minus_log[j];
        }
        slope += slopes[j];
    }
    r->loss_magnitude = r->loss + weight * (2 * range + log((double)n));
    for (size_t j = 0; j < n; j++) {
        r->gradient[j] = o.y[j] * (slope - slopes[j]) - o.rest[j] * slopes[j];
        r->magnitude[j] = o.y[j] * slope + slopes[j];
    }
}

static void element_row(const loss_case *c, size_t n, const double *z, const double *t,
                        const double *a, row_loss *r)
{
    const double e = c->parameter, share = 1 / (double)n;
    const int dice = c->kind == FM_SOFTMAX_ELEMENT_DICE || c->kind == FM_BINARY_ELEMENT_DICE;
    const outputs o = outputs_of(c->kind == FM_SOFTMAX_ELEMENT_DICE, n, z);
    double slope[MOST_OUTPUTS], magnitude[MOST_OUTPUTS];
    for (size_t j = 0; j < n; j++) {
        const double y = o.y[j], rest = o.rest[j], error = z[j] - t[j], sum = y + t[j] + e;
        double up = 0, down = 0, loss = 0, more = 0;
        switch (c->kind) {
        case FM_BINARY_CROSS_ENTROPY:
            loss = a[j] * t[j] * o.minus_log[j] + (1 - t[j]) * o.log_rest[j];
            up = (1 - t[j]) * y;
            down = a[j] * t[j] * rest;
            break;
        case FM_BINARY_FOCAL: {
            const double to = c->weighted ? a[j] * t[j] : t[j];
            const double from = c->weighted ? (1 - a[j]) * (1 - t[j]) : 1 - t[j];
            loss = to * pow(rest, e) * o.minus_log[j] + from * pow(y, e) * o.log_rest[j];
            up = from * pow(y, e) * (e * rest * o.log_rest[j] + y);
            down = to * pow(rest, e) * (e * y * o.minus_log[j] + rest);
            break;
        }
        case FM_MEAN_ABSOLUTE_ERROR:
            loss = fabs(error);
            up = error > 0;
            down = error < 0;
            break;
        case FM_HUBER:
            loss = fabs(error) <= e ? error * error / 2 : e * (fabs(error) - e / 2);
            up = fmin(fmax(error, 0), e);
            down = fmin(fmax(-error, 0), e);
            break;
        case FM_POISSON:
            loss = exp(z[j]) - t[j] * z[j];
            more = 2 * fabs(t[j] * z[j]);
            up = exp(z[j]);
            down = t[j];
            break;
        default:
            loss = (y * (1 - t[j]) + t[j] * rest) / sum;
            more = 1;
            slope[j] = share * (e - 2 * t[j] * (t[j] + e)) / (sum * sum);
            magnitude[j] = share * (e + 2 * t[j] * (t[j] + e)) / (sum * sum);
        }
        r->loss += share * loss;
        r->loss_magnitude += share * (fabs(loss) + more);
        r->gradient[j] = share * (up - down);
        r->magnitude[j] = share * (up + down);
    }
    if (dice) {
        through_outputs(c->kind == FM_SOFTMAX_ELEMENT_DICE, n, &o, slope, magnitude, r);
    }
}

/* All rows at once; the truth goes to `gradient`, whose bounds are magnitudes yet. */
static row_loss dice_of_batch(const loss_case *c, const array *z, const array *t, const double *w,
                              const array *gradient)
{
    const size_t n = z->cols;
    const int softmax = c->kind == FM_SOFTMAX_DICE;
    double both[MOST_OUTPUTS] = {0}, all[MOST_OUTPUTS] = {0};
    double slope[MOST_OUTPUTS], magnitude[MOST_OUTPUTS];
    row_loss sum = {0};
    for (size_t i = 0; i < z->rows; i++) {
        const outputs o = outputs_of(softmax, n, z->value + i * n);
        for (size_t j = 0; j < n; j++) {
            both[j] += w[i] * o.y[j] * t->value[i * n + j];
            all[j] += w[i] * (o.y[j] + t->value[i * n + j]);
        }
    }
    for (size_t j = 0; j < n; j++) {
        sum.loss += (1 - (2 * both[j] + c->parameter) / (all[j] + c->parameter)) / (double)n;
    }
    sum.loss_magnitude = 1;
    for (size_t i = 0; i < z->rows; i++) {
        const outputs o = outputs_of(softmax, n, z->value + i * n);
        row_loss r = {0};
        for (size_t j = 0; j < n; j++) {
            const double whole = all[j] + c->parameter, share = w[i] / (double)n / whole;
            const double b = share * (2 * both[j] + c->parameter) / whole;
            const double a = 2 * share * t->value[i * n + j];
            slope[j] = b - a;
            magnitude[j] = b + a;
        }
        through_outputs(softmax, n, &o, slope, magnitude, &r);
        memcpy(gradient->value + i * n, r.gradient, n * sizeof(double));
        memcpy(gradient->bound + i * n, r.magnitude, n * sizeof(double));
    }
    return sum;
}

void compare_loss(const fm_loss *loss, const array *predictions, const fm_targets *targets,
                  array *gradient, double expected, double bound, const char *what)
{
    double first = 0;
    FOR_THREADS(threads)
    {
        double mean = NAN;
        clear(gradient);
        compare(gradient,
                fm_loss_gradient(loss, &predictions->matrix, targets, &mean, &gradient->matrix),
                what);
        if (threads == 1) {
            compare_number(mean, expected, bound, what);
            first = mean;
        }
        expect(!memcmp(&mean, &first, sizeof mean), "the loss has the same bits");
    }
}

static void check_case(const loss_case *c, size_t rows, size_t n, int by_index, int with_weights)
{
    begin_case("loss %d (%g) of %zu x %zu%s%s", (int)c->kind, c->parameter, rows, n,
               by_index ? " by index" : "", with_weights ? " with weights" : "");
    const array z = argument(rows, n, c->kind == FM_POISSON ? 3 : range), t = argument(rows, n, 1);
    const array a = argument(1, n, 1);
    array gradient = result(rows, n);
    int64_t *labels = take(rows * sizeof *labels);
    double *w = take(rows * sizeof *w), total = 0;
    for (size_t j = 0; j < n; j++) {
        a.value[j] = c->weighted ? fabs(a.value[j]) : 1;
    }
    put(&a);
    for (size_t i = 0; i < rows; i++) {
        labels[i] = (int64_t)(random_bits() % n);
        w[i] = !with_weights ? 1 : i % 3 ? (double)(i % 5) / 2 : 0.75;
        total += w[i];
        for (size_t j = 0; j < n; j++) {
            double *v = &t.value[i * n + j];
            *v = by_index ? (double)((int64_t)j == labels[i]) : fabs(*v);
        }
    }
    put(&t);
    row_loss sum = {0};
    if (is_of_batch(c->kind)) {
        sum = dice_of_batch(c, &z, &t, w, &gradient);
    }
    for (size_t i = 0; i < rows && !is_of_batch(c->kind); i++) {
        const double *from = z.value + i * n, *to = t.value + i * n;
        const int summed = c->kind == FM_SOFTMAX_CROSS_ENTROPY || c->kind == FM_SOFTMAX_FOCAL;
        row_loss r = {0};
        (summed ? softmax_row : element_row)(c, n, from, to, a.value, &r);
        sum.loss += w[i] / total * r.loss;
        sum.loss_magnitude += w[i] / total * r.loss_magnitude;
        for (size_t j = 0; j < n; j++) {
            gradient.value[i * n + j] = w[i] / total * r.gradient[j];
            gradient.bound[i * n + j] = w[i] / total * r.magnitude[j];
        }
    }
    /* Of an output, whose exponent is the difference of two logits; of its powers; and of a sum of
     * n such terms. */
    const double power = 1 + c->parameter * (is_of_batch(c->kind) ? 0 : 1);
    const double error = power * (gamma_of(2 * range + (double)n + MAX_LANES) + 4 * library);
    for (size_t i = 0; i < rows * n; i++) {
        gradient.bound[i] = error * gradient.bound[i] + tiny;
    }
    const fm_loss loss = {.kind = c->kind,
                          .parameter = c->parameter,
                          .scale = 1,
                          .weights = c->weighted ? a.matrix.data : NULL};
    const fm_targets targets = {.indices = by_index ? labels : NULL,
                                .values = by_index ? NULL : &t.matrix,
                                .count = rows,
                                .weights = with_weights ? w : NULL};
    compare_loss(&loss, &z, &targets, &gradient, sum.loss,
                 error * sum.loss_magnitude + (double)rows * 0x1p-53 * sum.loss_magnitude, "");
}

void check_losses(size_t rows, size_t n)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int by_index = 0; by_index <= is_of_softmax(cases[i].kind); by_index++) {
            check_case(&cases[i], rows, n, by_index, 0);
            check_case(&cases[i], rows, n, by_index, 1);
        }
    }
}
