/* Every operation in sizes around the vectors, the tiles and the blocks of all kernels. */
#include <math.h>
#include <string.h>

#include "activations.h"
#include "check.h"
#include "parity.h"

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static const size_t sizes[] = {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65};

/* Rows, depth and columns past the limits of blocks: b packed in several blocks; a cut into blocks
 * of rows and of depth beside a b that is not packed; wide; a vector times a matrix and back. The
 * first is enough work for three threads with any vectors. */
static const size_t large[][3] = {{50, 300, 260}, {40, 1300, 20}, {260, 200, 20},
                                  {9, 40, 800},   {1, 1100, 301}, {301, 700, 1}};

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* c = a b and the bound of its error. */
static void multiply(const array *a, const array *b, array *c)
{
    const size_t depth = a->cols, n = b->cols;
    for (size_t i = 0; i < a->rows; i++) {
        double *sum = c->value + i * n, *magnitude = c->bound + i * n;
        memset(sum, 0, n * sizeof *sum);
        memset(magnitude, 0, n * sizeof *magnitude);
        for (size_t p = 0; p < depth; p++) {
            const double x = a->value[i * depth + p], *row = b->value + p * n;
            for (size_t j = 0; j < n; j++) {
                sum[j] += x * row[j];
                magnitude[j] += fabs(x * row[j]);
            }
        }
        for (size_t j = 0; j < n; j++) {
            magnitude[j] = gamma_of((double)depth) * magnitude[j] + (double)depth * tiny;
        }
    }
}

static void check_matmul(size_t m, size_t k, size_t n)
{
    begin_case("matmul of %zu x %zu x %zu", m, k, n);
    const array a = argument(m, k, 1), b = argument(k, n, 1);
    const array a_transposed = transposed(&a), b_transposed = transposed(&b);
    array c = result(m, n);
    multiply(&a, &b, &c);
    for (int t = 0; t < 4; t++) {
        const fm_matrix *left = t & 1 ? &a_transposed.matrix : &a.matrix;
        const fm_matrix *right = t & 2 ? &b_transposed.matrix : &b.matrix;
        FOR_THREADS(threads)
        {
            clear(&c);
            compare(&c, fm_matmul(left, right, t & 1, t & 2, &c.matrix),
                    t == 3   ? "both transposed"
                    : t == 2 ? "b transposed"
                    : t      ? "a transposed"
                             : "");
        }
    }
}

/* exp(z - max z) of a row, by logits that are known up to `error`: the relative error of each, to
 * first order, is that of its exponent. */
typedef struct {
    double largest, sum, error; /* of the logits, of the exponentials, of that sum: relative */
} row_sum;

static double exponential_error(const row_sum *row, double z, double error)
{
    const double shift = fabs(z - row->largest);
    return (isfinite(shift) ? unit * shift : 0) + library + 2 * error;
}

static row_sum sum_of_row(size_t n, const double *z, double error)
{
    row_sum row = {-INFINITY, 0, 0};
    for (size_t j = 0; j < n; j++) {
        row.largest = larger(row.largest, z[j]);
    }
    for (size_t j = 0; j < n; j++) {
        const double e = exp(z[j] - row.largest);
        row.sum += e;
        row.error += e * exponential_error(&row, z[j], error);
    }
    row.error = row.error / row.sum + gamma_of((double)n);
    return row;
}

/* y = f(z), for a z that is known up to `errors`, or NULL if it is exact. */
static void activate(fm_activation activation, size_t rows, size_t n, const double *z,
                     const double *errors, array *y)
{
    for (size_t i = 0; i < rows; i++) {
        const double *from = z + i * n;
        double *value = y->value + i * n, *bound = y->bound + i * n, error = 0;
        for (size_t j = 0; j < n && errors; j++) {
            error = larger(error, errors[i * n + j]);
        }
        if (activation < FM_POINTWISE_ACTIVATIONS) {
            for (size_t j = 0; j < n; j++) {
                value[j] = activated(activation, from[j]);
                value[j] = isinf(rounded(value[j])) ? rounded(value[j]) : value[j];
                const double slope = activation == FM_EXP ? 1.01 * value[j] : steepest(activation);
                bound[j] = (errors ? slope * errors[i * n + j] : 0) +
                           activation_error(activation, from[j]);
            }
            continue;
        }
        const row_sum row = sum_of_row(n, from, error);
        for (size_t j = 0; j < n; j++) {
            const double shift = from[j] - row.largest;
            if (activation == FM_SOFTMAX) {
                const double each = exponential_error(&row, from[j], error);
                value[j] = exp(shift) / row.sum;
                bound[j] = (each + row.error + 2 * unit) * value[j] + tiny;
            } else {
                value[j] = shift - log(row.sum);
                bound[j] = row.error + 2 * error +
                           unit * (fabs(shift) + fabs(value[j]) + 2 * log(row.sum));
            }
        }
    }
}

/* activation(x w + b), where b may be NULL; z is of the pre-activation. */
static void dense(const array *x, const array *w, const array *b, fm_activation activation,
                  array *z, array *y)
{
    multiply(x, w, z);
    for (size_t i = 0; i < x->rows * w->cols && b; i++) {
        z->value[i] += b->value[i % w->cols];
        z->bound[i] += unit * fabs(z->value[i]);
    }
    activate(activation, x->rows, w->cols, z->value, z->bound, y);
}

static void check_dense_forward(size_t n, size_t inputs, size_t outputs)
{
    for (int activation = 0; activation < FM_ACTIVATIONS; activation++) {
        begin_case("dense forward of %zu x %zu x %zu, activation %d", n, inputs, outputs,
                   activation);
        const array x = argument(n, inputs, 1);
        const array w = argument(inputs, outputs, 2 / sqrt((double)inputs));
        const array b = argument(1, outputs, 1);
        for (int with_bias = 0; with_bias < 2; with_bias++) {
            array z = result(n, outputs), y = result(n, outputs);
            dense(&x, &w, with_bias ? &b : NULL, (fm_activation)activation, &z, &y);
            FOR_THREADS(threads)
            {
                clear(&y);
                compare(&y,
                        fm_dense_forward(&x.matrix, &w.matrix, with_bias ? b.matrix.data : NULL,
                                         (fm_activation)activation, &y.matrix),
                        with_bias ? "with bias" : "without bias");
            }
        }
    }
}

/* Compressed rows of x, in which all but some are zero and every fifth row is empty. */
static fm_samples compressed(array *x)
{
    const size_t n = x->rows * x->cols;
    for (size_t i = 0; i < n; i++) {
        if (i / x->cols % 5 == 4 || random_bits() % 4) {
            x->value[i] = 0;
        }
    }
    put(x);
    int64_t *starts = take((x->rows + 1) * sizeof *starts);
    int32_t *columns = take(n * sizeof *columns);
    float *singles = take(n * sizeof *singles);
    double *doubles = take(n * sizeof *doubles);
    int64_t count = starts[0] = 0;
    for (size_t i = 0; i < x->rows; i++) {
        for (size_t j = 0; j < x->cols; j++) {
            const double v = x->value[i * x->cols + j];
            if (v != 0) {
                singles[count] = (float)v;
                doubles[count] = v;
                columns[count++] = (int32_t)j;
            }
        }
        starts[i + 1] = count;
    }
    const void *data = dtype == FM_FLOAT32 ? (const void *)singles : (const void *)doubles;
    return (fm_samples){.data = data,
                        .rows = x->rows,
                        .cols = x->cols,
                        .starts = starts,
                        .columns = columns,
                        .dtype = dtype};
}

static void check_sparse_forward(size_t n, size_t inputs, size_t outputs)
{
    for (int activation = 0; activation < FM_ACTIVATIONS; activation++) {
        begin_case("sparse forward of %zu x %zu x %zu, activation %d", n, inputs, outputs,
                   activation);
        array x = argument(n, inputs, 1);
        const fm_samples rows = compressed(&x);
        const array w = argument(inputs, outputs, 2 / sqrt((double)inputs));
        const array b = argument(1, outputs, 1);
        array z = result(n, outputs), y = result(n, outputs);
        dense(&x, &w, &b, (fm_activation)activation, &z, &y);
        FOR_THREADS(threads)
        {
            clear(&y);
            compare(&y,
                    fm_dense_forward_sparse(&rows, &w.matrix, b.matrix.data,
                                            (fm_activation)activation, &y.matrix),
                    "");
        }
        /* Zeros do not change a sum. */
        clear(&y);
        compare(&y,
                fm_dense_forward(&x.matrix, &w.matrix, b.matrix.data, (fm_activation)activation,
                                 &y.matrix),
                "the same rows dense");
    }
}

static void check_dense_backward(size_t n, size_t inputs, size_t outputs)
{
    begin_case("dense backward of %zu x %zu x %zu", n, inputs, outputs);
    const array dy = argument(n, outputs, 1), x = argument(n, inputs, 1);
    const array w = argument(inputs, outputs, 1);
    const array w_transposed = transposed(&w), x_transposed = transposed(&x);
    array dx = result(n, inputs), dw = result(inputs, outputs), db = result(1, outputs);
    multiply(&dy, &w_transposed, &dx);
    multiply(&x_transposed, &dy, &dw);
    for (size_t j = 0; j < outputs; j++) {
        double magnitude = 0;
        db.value[j] = 0;
        for (size_t i = 0; i < n; i++) {
            db.value[j] += dy.value[i * outputs + j];
            magnitude += fabs(dy.value[i * outputs + j]);
        }
        db.bound[j] = gamma_of((double)n) * magnitude;
    }
    FOR_THREADS(threads)
    {
        clear(&dx);
        clear(&dw);
        clear(&db);
        const fm_status status = fm_dense_backward(&dy.matrix, &x.matrix, &w.matrix, &dx.matrix,
                                                   &dw.matrix, db.matrix.data);
        compare(&dx, status, "dx");
        compare(&dw, status, "dw");
        compare(&db, status, "db");
    }
}

static void check_activation(fm_activation activation, const array *z)
{
    array y = result(z->rows, z->cols);
    activate(activation, z->rows, z->cols, z->value, NULL, &y);
    FOR_THREADS(threads)
    {
        clear(&y);
        compare(&y, fm_activate(activation, &z->matrix, &y.matrix), "");
    }
    memcpy(y.memory, z->memory, y.bytes);
    compare(&y, fm_activate(activation, &y.matrix, &y.matrix), "in place");
}

static void check_derivative(fm_activation activation, size_t rows, size_t n)
{
    const array dy = argument(rows, n, 1), y = argument(rows, n, 1);
    array dz = result(rows, n);
    for (size_t i = 0; i < rows * n; i++) {
        /* 0 is where the slope of ReLU jumps, and softplus is not negative. */
        y.value[i] = i % 3 == 0 ? 0 : activation == FM_SOFTPLUS ? fabs(y.value[i]) : y.value[i];
    }
    put(&y);
    for (size_t i = 0; i < rows * n; i++) {
        dz.value[i] = dy.value[i] * slope_from(activation, y.value[i]);
        dz.bound[i] = fabs(dy.value[i]) * slope_error(activation, y.value[i]);
    }
    FOR_THREADS(threads)
    {
        clear(&dz);
        compare(&dz, fm_activate_backward(activation, &dy.matrix, &y.matrix, &dz.matrix), "");
    }
}

static void check_activations(size_t rows, size_t n)
{
    for (int activation = 0; activation < FM_ACTIVATIONS; activation++) {
        begin_case("activation %d of %zu x %zu", activation, rows, n);
        const array z = argument(rows, n, 12);
        check_activation((fm_activation)activation, &z);
        if (activation < FM_POINTWISE_ACTIVATIONS) {
            begin_case("derivative %d of %zu x %zu", activation, rows, n);
            check_derivative((fm_activation)activation, rows, n);
        }
    }
}

/* Each of these in each lane, whole vectors and the rest of one. */
static void check_special_values(void)
{
    const double special[] = {INFINITY, -INFINITY, NAN, 0.0,  -0.0, 1e-40, -1e-40, 87.5,
                              -87.5,    -104,      104, -745, 710,  1e30,  -1e30,  1e-20};
    enum { WIDTH = 23 };
    for (int activation = 0; activation < FM_POINTWISE_ACTIVATIONS; activation++) {
        for (size_t s = 0; s < COUNT(special); s++) {
            begin_case("activation %d of %g among others", activation, special[s]);
            const array z = argument(WIDTH, WIDTH, 3);
            for (size_t i = 0; i < WIDTH; i++) {
                z.value[i * WIDTH + i] = rounded(special[s]);
            }
            put(&z);
            check_activation((fm_activation)activation, &z);
        }
    }
    for (int activation = FM_SOFTMAX; activation < FM_ACTIVATIONS; activation++) {
        begin_case("activation %d of minus infinity among others", activation);
        const array z = argument(WIDTH, WIDTH, 3);
        for (size_t i = 0; i < WIDTH; i++) {
            z.value[i * WIDTH + i] = -INFINITY;
        }
        put(&z);
        check_activation((fm_activation)activation, &z);
    }
    for (size_t n = 1; n <= WIDTH; n++) {
        for (size_t s = 0; s < 3; s++) {
            for (size_t j = 0; j < n; j++) {
                begin_case("%g as element %zu of %zu", special[s], j, n);
                const array x = argument(1, n, 1);
                int finite = 0;
                expect(fm_all_finite(&x.matrix, dtype, &finite) == FM_OK && finite, "finite");
                x.value[j] = special[s];
                put(&x);
                expect(fm_all_finite(&x.matrix, dtype, &finite) == FM_OK && !finite, "not finite");
            }
        }
    }
}

/* Softmax and cross-entropy; the bounds are those of tests/test_ops.py. */
static void check_cross_entropy(size_t rows, size_t n, int by_index)
{
    begin_case("cross-entropy of %zu x %zu", rows, n);
    const array z = argument(rows, n, 12), t = argument(rows, n, 1);
    array gradient = result(rows, n);
    int64_t *labels = take(rows * sizeof *labels);
    const double count = (double)rows;
    double loss = 0, bound = 0, magnitudes = 0;
    for (size_t i = 0; i < rows; i++) {
        const double *logits = z.value + i * n;
        double *target = t.value + i * n, weight = 0, product = 0;
        labels[i] = (int64_t)(random_bits() % n);
        const row_sum row = sum_of_row(n, logits, 0);
        for (size_t j = 0; j < n; j++) {
            target[j] = by_index ? (int64_t)j == labels[i] : fabs(target[j]);
            weight += target[j];
            product += target[j] * (row.largest - logits[j]);
        }
        for (size_t j = 0; j < n; j++) {
            const double p = exp(logits[j] - row.largest) / row.sum;
            const double factor = exponential_error(&row, logits[j], 0) + row.error + 4 * unit +
                                  gamma_of((double)n);
            gradient.value[i * n + j] = (p * weight - target[j]) / count;
            gradient.bound[i * n + j] = (p * weight * factor + 3 * unit * target[j]) / count + tiny;
        }
        const double magnitude = weight * log(row.sum) + product;
        loss += magnitude / count;
        bound += (weight * row.error + unit * (product + 4 * magnitude)) / count;
        magnitudes += magnitude / count;
    }
    put(&t);
    bound += count * (double)n * 0x1p-53 * magnitudes;
    const fm_targets targets = {by_index ? labels : NULL, by_index ? NULL : &t.matrix, rows, NULL};
    compare_loss(&(fm_loss){.kind = FM_SOFTMAX_CROSS_ENTROPY, .scale = 1}, &z, &targets, &gradient,
                 loss, bound, by_index ? "by index" : "by value");
}

/* Partial sums of a row, at most: elements of the longest vector. */
enum { MAX_LANES = 16 };

static void check_binary_cross_entropy(size_t rows, size_t n)
{
    begin_case("binary cross-entropy of %zu x %zu", rows, n);
    const array z = argument(rows, n, 12), t = argument(rows, n, 1);
    array gradient = result(rows, n);
    const double count = (double)(rows * n);
    double loss = 0, bound = 0;
    for (size_t i = 0; i < rows * n; i++) {
        const double x = z.value[i], y = t.value[i] = fabs(t.value[i]);
        const double soft = log1p(exp(-fabs(x))), linear = larger(x, 0) - x * y;
        const double value = linear + soft, p = 1 / (1 + exp(-x));
        loss += value / count;
        bound += (unit * (fabs(x * y) + fabs(linear)) + 2 * library * soft +
                  (unit + gamma_of(MAX_LANES)) * fabs(value)) /
                     count +
                 0x1p-53 * fabs(value);
        gradient.value[i] = (p - y) / count;
        gradient.bound[i] = (library * p + 4 * unit * fabs(p - y)) / count + tiny;
    }
    put(&t);
    const fm_targets targets = {NULL, &t.matrix, rows, NULL};
    compare_loss(&(fm_loss){.kind = FM_BINARY_CROSS_ENTROPY, .scale = 1}, &z, &targets, &gradient,
                 loss, bound, "");
}

static void check_squared_error(size_t rows, size_t n)
{
    begin_case("squared error of %zu x %zu", rows, n);
    const array p = argument(rows, n, 1), t = argument(rows, n, 1);
    array gradient = result(rows, n);
    const double count = (double)(rows * n);
    double loss = 0;
    for (size_t i = 0; i < rows * n; i++) {
        const double error = p.value[i] - t.value[i];
        loss += error * error / count;
        gradient.value[i] = 2 * error / count;
        gradient.bound[i] = gamma_of(4) * fabs(gradient.value[i]) + tiny;
    }
    const fm_targets targets = {NULL, &t.matrix, rows, NULL};
    compare_loss(&(fm_loss){.kind = FM_MEAN_SQUARED_ERROR, .scale = 1}, &p, &targets, &gradient,
                 loss, (gamma_of(4 + MAX_LANES) + count * 0x1p-53) * loss, "");
}

static void check_plain_losses(size_t rows, size_t n)
{
    check_cross_entropy(rows, n, 0);
    check_cross_entropy(rows, n, 1);
    check_binary_cross_entropy(rows, n);
    check_squared_error(rows, n);
    check_losses(rows, n);
}

static void check_update(size_t n)
{
    begin_case("update of %zu", n);
    const double lr = 0.1;
    const array params = argument(1, n, 1), grads = argument(1, n, 1);
    array updated = result(1, n);
    for (size_t i = 0; i < n; i++) {
        updated.value[i] = params.value[i] - lr * grads.value[i];
        /* lr rounded to the dtype, the product, the difference. */
        updated.bound[i] = unit * (2 * fabs(lr * grads.value[i]) + fabs(updated.value[i])) + tiny;
    }
    FOR_THREADS(threads)
    {
        memcpy(updated.memory, params.memory, params.bytes);
        compare(&updated, fm_sgd_update(dtype, n, updated.matrix.data, grads.matrix.data, lr), "");
    }
}

void check_operations(void)
{
    for (size_t i = 0; i < COUNT(sizes); i++) {
        for (size_t j = 0; j < COUNT(sizes); j++) {
            const size_t rows = sizes[i], columns = sizes[j];
            const size_t depth = sizes[(5 * i + 3 * j) % COUNT(sizes)];
            gap = (i + j) % 2 ? 0 : 3;
            check_matmul(rows, depth, columns);
            /* In every row and column of the table of sizes. */
            if ((i + 2 * j) % 5 == 0) {
                check_dense_forward(rows, depth, columns);
                check_dense_backward(rows, depth, columns);
            }
            if ((i + 2 * j) % 5 == 1) {
                check_sparse_forward(rows, depth, columns);
                check_activations(rows, columns);
                check_plain_losses(rows, columns);
            }
        }
        check_update(sizes[i]);
    }
    for (size_t i = 0; i < COUNT(large); i++) {
        const size_t *s = large[i];
        gap = i % 2 ? 5 : 0;
        check_matmul(s[0], s[1], s[2]);
        check_dense_backward(s[0], s[1], s[2]);
    }
    gap = 0;
    check_dense_forward(50, 300, 260);
    check_sparse_forward(60, 300, 260);
    check_activations(4, 40001);
    check_plain_losses(301, 310);
    check_update(160003);
    check_special_values();
}
