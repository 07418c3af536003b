/* Training: one parallel region an epoch, two barriers a step. */
#include <math.h>
#include <omp.h>

#include "barrier.h"
#include "step.h"

typedef struct {
    fm_step step;
    void *parameters;
    const fm_training *options;
    size_t n_samples;
    fm_totals totals;
    size_t threads;
    double polled; /* when progress was last reported */
    int diverged;  /* thread 0's own; becomes the status in the next step */
    _Atomic int status;
    fm_barrier barrier;
} epoch;

/* Add a batch up, in order. Thread 0 alone. */
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
        e->diverged = 1;
    }
}

/* Whether to leave the rows: thread 0 asks the caller now and then. Nobody writes a parameter
 * meanwhile. */
static int stop(void *context, size_t part)
{
    epoch *e = context;
    const fm_training *o = e->options;
    if (part == 0 && e->diverged) {
        e->status = FM_ERROR_DIVERGED;
    }
    if (part == 0 && o->progress && !e->status) {
        const double now = omp_get_wtime();
        if (now - e->polled >= o->poll_seconds) {
            for (size_t i = 0; i < e->threads; i++) {
                fm_step_give_back(&e->step, i, e->threads);
            }
            if (o->progress(o->progress_context, &e->totals)) {
                e->status = FM_ERROR_INTERRUPTED;
            }
            e->polled = omp_get_wtime();
        }
    }
    return e->status != FM_OK;
}

/* Between layers; whether to stop is looked at once the step's rows are done. */
static void meet(void *context, size_t part, size_t parts)
{
    epoch *e = context;
    stop(e, part);
    fm_barrier_meet(&e->barrier, parts);
}

/* Threads leave the loop together: the status is set before a step's second barrier only, and
 * looked at after it, so all see the same. */
static void train(void *context, size_t part, size_t parts)
{
    epoch *e = context;
    const size_t batch_size = e->options->batch_size;
    fm_batch batch = {0};
    if (part == 0) {
        e->threads = parts;
    }
    fm_step_begin(&e->step, part, parts);
    for (; batch.first < e->n_samples; batch.first += batch.count, batch.number++) {
        batch.count = fm_min(batch_size, e->n_samples - batch.first);
        fm_step_first(&e->step, batch, part, parts);
        fm_barrier_meet(&e->barrier, parts);
        if (e->step.by_layers) {
            fm_step_layers(&e->step, batch, part, parts, meet, e);
        } else {
            fm_step_rows(&e->step, batch, part, parts, stop, e);
        }
        fm_barrier_meet(&e->barrier, parts);
        if (e->status) {
            break;
        }
        fm_step_gradient(&e->step, batch, FM_GEMM_ADD_SCALED, -e->options->lr, e->parameters, part,
                         parts);
        fm_step_transpose(&e->step, part, parts);
        if (part == 0) {
            account(e, batch.count);
        }
    }
    fm_step_give_back(&e->step, part, parts);
}

/* Threads for steps of `batch` samples, by the operations of a step. */
static int threads_of(const fm_network *network, size_t batch, int threads)
{
    const int useful = fm_threads_for(6.0 * (double)network->n_parameters * (double)batch);
    return useful < threads ? useful : threads;
}

size_t fm_network_training_workspace(const fm_network *network, size_t n_samples, size_t batch_size,
                                     int threads)
{
    fm_step step;
    size_t *order;
    return fm_step_lay_out(network, n_samples, batch_size, (size_t)(threads > 0 ? threads : 1),
                           NULL, &step, &order);
}

/* Prepare a step in the caller's workspace. */
static fm_status set_up(const fm_network *network, const void *parameters, const fm_matrix *x,
                        const fm_targets *y, size_t batch_size, int threads, void *workspace,
                        size_t workspace_size, fm_step *step, size_t **order)
{
    const fm_status status = fm_check_arguments(network, parameters, x, y);
    if (status) {
        return status;
    }
    if (!batch_size || threads < 1) {
        return FM_ERROR_VALUE;
    }
    if (!workspace || (uintptr_t)workspace % FM_ALIGNMENT ||
        fm_network_training_workspace(network, x->rows, batch_size, threads) > workspace_size) {
        return FM_ERROR_MEMORY;
    }
    fm_step_lay_out(network, x->rows, batch_size, (size_t)threads, workspace, step, order);
    step->network = network;
    step->kernels = fm_kernels_for(network->dtype);
    step->parameters = parameters;
    step->x = x;
    step->y = y;
    fm_step_look_at_zeros(step);
    return FM_OK;
}

fm_status fm_network_train_epoch(const fm_network *network, void *parameters, const fm_matrix *x,
                                 const fm_targets *y, const fm_training *options, void *workspace,
                                 size_t workspace_size, fm_totals *totals)
{
    epoch e = {.parameters = parameters, .options = options, .polled = omp_get_wtime()};
    size_t *order;
    const fm_status status = set_up(network, parameters, x, y, options->batch_size,
                                    options->threads, workspace, workspace_size, &e.step, &order);
    if (status) {
        return status;
    }
    if (!isfinite(options->lr)) {
        return FM_ERROR_VALUE;
    }
    e.n_samples = x->rows;
    if (options->shuffle) {
        fm_shuffle(x->rows, options->seed, options->epoch, order);
        e.step.order = order;
    }
    const size_t batch = fm_min(options->batch_size, x->rows);
    fm_in_parallel(threads_of(network, batch, options->threads), train, &e);
    *totals = e.totals;
    return e.diverged ? FM_ERROR_DIVERGED : (fm_status)e.status;
}

typedef struct {
    fm_step step;
    fm_batch batch;
    void *gradient;
    fm_barrier barrier;
} batch_gradient;

static int never(void *context, size_t part)
{
    (void)context;
    (void)part;
    return 0;
}

static void gradient_part(void *context, size_t part, size_t parts)
{
    batch_gradient *b = context;
    fm_step_begin(&b->step, part, parts);
    fm_step_first(&b->step, b->batch, part, parts);
    fm_barrier_meet(&b->barrier, parts);
    fm_step_rows(&b->step, b->batch, part, parts, never, NULL);
    fm_barrier_meet(&b->barrier, parts);
    fm_step_gradient(&b->step, b->batch, FM_GEMM_STORE, 1, b->gradient, part, parts);
}

fm_status fm_network_gradient(const fm_network *network, const void *parameters, const fm_matrix *x,
                              const fm_targets *y, int threads, void *gradient, void *workspace,
                              size_t workspace_size, fm_totals *totals)
{
    const size_t count = x->rows;
    batch_gradient b = {.batch = {0, count, 0}, .gradient = gradient};
    size_t *order;
    const fm_status status = set_up(network, parameters, x, y, count, threads, workspace,
                                    workspace_size, &b.step, &order);
    if (status) {
        return status;
    }
    fm_in_parallel(threads_of(network, count, threads), gradient_part, &b);
    *totals = (fm_totals){0, 0, count};
    for (size_t i = 0; i < count; i++) {
        totals->loss += b.step.losses[i];
        totals->correct += b.step.correct[i];
    }
    return FM_OK;
}
