/* Training: one parallel region an epoch, two barriers a step.
 *
 * Between the barriers every thread owns something: first rows of the batch (gather, forward, loss
 * and backward need nothing of other rows), then inputs of each layer (their weight gradients sum
 * over the whole batch and are applied at once). Neither split changes an element's arithmetic. */
#include <math.h>
#include <omp.h>

#include "barrier.h"
#include "network.h"

typedef struct {
    fm_step step;
    void *parameters;
    const fm_training *options;
    size_t n_samples;
    fm_totals totals;
    double polled; /* when progress was last reported */
    fm_status status;
    fm_barrier barrier;
} epoch;

/* Add a batch up, in order; report and decide whether to go on. Thread 0 alone. */
static void account(epoch *e, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += e->step.losses[i];
        e->totals.correct += e->step.correct[i];
    }
    e->totals.loss += sum;
    e->totals.samples += count;
    if (!isfinite(sum)) {
        e->status = FM_ERROR_DIVERGED;
        return;
    }
    const fm_training *o = e->options;
    if (o->progress) {
        const double now = omp_get_wtime();
        if (now - e->polled >= o->poll_seconds) {
            if (o->progress(o->progress_context, &e->totals)) {
                e->status = FM_ERROR_INTERRUPTED;
            }
            e->polled = omp_get_wtime();
        }
    }
}

static void train(void *context, size_t part, size_t parts)
{
    epoch *e = context;
    const size_t batch = e->options->batch_size;
    fm_step_transpose(&e->step, part, parts);
    fm_barrier_meet(&e->barrier, parts);
    for (size_t first = 0; first < e->n_samples && !e->status; first += batch) {
        const size_t count = fm_min(batch, e->n_samples - first);
        fm_step_rows(&e->step, first, count, fm_step_share(&e->step, count, part, parts));
        fm_barrier_meet(&e->barrier, parts);
        fm_step_gradient(&e->step, count, FM_GEMM_ADD_SCALED, -e->options->lr, e->parameters, part,
                         parts);
        fm_step_transpose(&e->step, part, parts);
        if (part == 0) {
            account(e, count);
        }
        fm_barrier_meet(&e->barrier, parts);
    }
}

/* Floating-point operations of a step, to choose the number of threads by. */
static int threads_of(const fm_network *network, size_t batch)
{
    return fm_threads_for(6.0 * (double)network->n_parameters * (double)batch);
}

size_t fm_network_training_workspace(const fm_network *network, size_t n_samples,
                                     size_t batch_size)
{
    fm_step step;
    size_t *order;
    return fm_step_lay_out(network, n_samples, batch_size, NULL, &step, &order);
}

fm_status fm_network_train_epoch(const fm_network *network, void *parameters, const fm_matrix *x,
                                 const fm_targets *y, const fm_training *options, void *workspace,
                                 size_t workspace_size, fm_totals *totals)
{
    const fm_status status = fm_check_arguments(network, parameters, x, y);
    if (status) {
        return status;
    }
    if (!options->batch_size || !isfinite(options->lr)) {
        return FM_ERROR_VALUE;
    }
    epoch e = {.parameters = parameters,
               .options = options,
               .n_samples = x->rows,
               .polled = omp_get_wtime()};
    size_t *order;
    if (!workspace || (uintptr_t)workspace % FM_ALIGNMENT ||
        fm_network_training_workspace(network, x->rows, options->batch_size) > workspace_size) {
        return FM_ERROR_MEMORY;
    }
    fm_step_lay_out(network, x->rows, options->batch_size, workspace, &e.step, &order);
    e.step.network = network;
    e.step.kernels = fm_kernels_for(network->dtype);
    e.step.parameters = parameters;
    e.step.x = x;
    e.step.y = y;
    if (options->shuffle) {
        fm_shuffle(x->rows, options->seed, options->epoch, order);
        e.step.order = order;
    }

    const int threads = threads_of(network, fm_min(options->batch_size, x->rows));
    fm_in_parallel(threads, train, &e);
    *totals = e.totals;
    return e.status;
}

typedef struct {
    fm_step step;
    size_t count;
    void *gradient;
    fm_barrier barrier;
} batch_gradient;

static void gradient_part(void *context, size_t part, size_t parts)
{
    batch_gradient *b = context;
    fm_step_transpose(&b->step, part, parts);
    fm_barrier_meet(&b->barrier, parts);
    fm_step_rows(&b->step, 0, b->count, fm_step_share(&b->step, b->count, part, parts));
    fm_barrier_meet(&b->barrier, parts);
    fm_step_gradient(&b->step, b->count, FM_GEMM_STORE, 1, b->gradient, part, parts);
}

fm_status fm_network_gradient(const fm_network *network, const void *parameters,
                              const fm_matrix *x, const fm_targets *y, void *gradient,
                              void *workspace, size_t workspace_size, fm_totals *totals)
{
    const fm_status status = fm_check_arguments(network, parameters, x, y);
    if (status) {
        return status;
    }
    const size_t count = x->rows;
    if (!workspace || (uintptr_t)workspace % FM_ALIGNMENT ||
        fm_network_training_workspace(network, count, count) > workspace_size) {
        return FM_ERROR_MEMORY;
    }
    batch_gradient b = {.count = count, .gradient = gradient};
    size_t *order;
    fm_step_lay_out(network, count, count, workspace, &b.step, &order);
    b.step.network = network;
    b.step.kernels = fm_kernels_for(network->dtype);
    b.step.parameters = parameters;
    b.step.x = x;
    b.step.y = y;
    fm_in_parallel(threads_of(network, count), gradient_part, &b);
    *totals = (fm_totals){0, 0, count};
    for (size_t i = 0; i < count; i++) {
        totals->loss += b.step.losses[i];
        totals->correct += b.step.correct[i];
    }
    return FM_OK;
}
