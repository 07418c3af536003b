/* Training: one parallel region an epoch or part of it, two barriers a step; at first some more,
 * while ways of sharing a step are tried. */
#include <math.h>
#include <omp.h>

#include "barrier.h"
#include "exchange.h"
#include "step.h"
#include "subnormals.h"
#include "ways.h"

typedef struct {
    fm_step step;
    const fm_training *options;
    /* Of the last step, while its penalty has not been added up: its weight, and the cells. */
    double owed;
    const double *cells;
    fm_batch next; /* where the threads begin */
    size_t end;    /* where they end, unless something stops them */
    fm_totals totals;
    size_t threads;
    size_t warm; /* the step from which on time is taken, as caches are warm then */
    double began, took;
    double polled; /* when progress was last reported */
    int diverged;  /* thread 0's own; becomes the status in the next step */
    _Atomic int status;
    _Atomic size_t pause; /* replicated: the step, counted from 1, in which all wait for stop() */
    fm_barrier barrier;
} epoch;

/* Add a batch up, in order. Thread 0 alone. */
static void account(epoch *e, fm_batch batch)
{
    const double sum = fm_step_loss(&e->step, batch, &e->totals.correct);
    const double unit = e->options->loss_unit != 0 ? e->options->loss_unit : 1;
    const double share = e->options->mean_of_batches && batch.weight > 0
                             ? (double)batch.count / batch.weight
                             : 1;
    e->totals.loss += unit * share * sum;
    e->totals.weight += share * batch.weight;
    e->totals.samples += batch.count;
    e->totals.steps++;
    e->owed = share * batch.weight;
    e->cells = e->step.cells[batch.number % 2];
    if (!isfinite(sum)) {
        e->diverged = 1;
    }
}

/* Add up the penalty of the last step. Thread 0 alone, after all have done that step. */
static void settle(epoch *e)
{
    if (!e->cells || !(e->owed > 0)) {
        return;
    }
    e->totals.penalty += e->owed * fm_sum_of_cells(e->step.network, e->cells);
    e->owed = 0;
    if (!isfinite(e->totals.penalty)) {
        e->diverged = 1;
    }
}

/* Whether there is something to stop for. Thread 0 alone. */
static int due(const epoch *e)
{
    return e->diverged ||
           (e->options->progress && omp_get_wtime() - e->polled >= e->options->poll_seconds);
}

/* Whether to leave the rows: thread 0 asks the caller now and then. Nobody writes a parameter
 * meanwhile. */
static int stop(void *context, size_t part)
{
    epoch *e = context;
    const fm_training *o = e->options;
    if (part == 0 && e->diverged) {
        e->status = FM_ERROR_DIVERGED;
    } else if (part == 0 && !e->status && due(e)) {
        for (size_t i = 0; i < e->threads; i++) {
            fm_step_give_back(&e->step, i, e->threads);
        }
        const uint64_t flushed = fm_keep_subnormals();
        if (o->progress(o->progress_context, &e->totals)) {
            e->status = FM_ERROR_INTERRUPTED;
        }
        fm_restore_subnormals(flushed);
        e->polled = omp_get_wtime();
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

/* While parameters are written, which the caller must not see. */
static void meet_only(void *context, size_t part, size_t parts)
{
    epoch *e = context;
    (void)part;
    fm_barrier_meet(&e->barrier, parts);
}

static int never(void *context, size_t part)
{
    (void)context;
    (void)part;
    return 0;
}

/* A step whose layers past the first every thread does by itself: the outputs of the first are all
 * that threads need of each other. Returns whether to stop. */
static int train_replica(epoch *e, fm_batch batch, size_t part, size_t parts)
{
    if (part == 0 && due(e)) {
        e->pause = batch.number + 1;
    }
    fm_barrier_meet(&e->barrier, parts);
    if (part == 0) {
        settle(e);
    }
    if (e->pause == batch.number + 1) {
        stop(e, part);
        fm_barrier_meet(&e->barrier, parts);
        if (e->status) {
            return 1;
        }
    }
    fm_step_rows(&e->step, batch, part, parts, never, NULL);
    return 0;
}

/* A step of which threads share everything. Returns whether to stop. */
static int train_share(epoch *e, fm_batch batch, size_t part, size_t parts)
{
    int refused = 0;
    fm_barrier_meet(&e->barrier, parts);
    if (part == 0) {
        settle(e);
    }
    if (e->step.split.by_layers) {
        stop(e, part); /* a single layer, by columns, meets nowhere on its way */
        refused = fm_step_layers(&e->step, batch, part, parts, meet, e);
    } else if (fm_is_of_batch(e->step.loss)) {
        refused = fm_step_batch(&e->step, batch, part, parts, meet, e);
    } else {
        fm_step_rows(&e->step, batch, part, parts, stop, e);
    }
    if (refused) {
        e->status = FM_ERROR_INTERRUPTED;
    }
    fm_barrier_meet(&e->barrier, parts);
    return e->status != FM_OK;
}

static double rate_of(const fm_training *o, size_t number)
{
    return o->rates ? o->rates[number] : o->lr;
}

/* Threads leave the loop together: the status is set before a step's second barrier only, and
 * looked at after it, so all see the same. Gradients of saturated outputs, and what an
 * optimizer keeps for a weight without a gradient, become subnormal, and then made steps five times
 * as long; weights do not notice. */
static void train(void *context, size_t part, size_t parts)
{
    const uint64_t kept = fm_flush_subnormals();
    epoch *e = context;
    const fm_training *o = e->options;
    const size_t batch_size = o->batch_size;
    fm_update update;
    fm_effect effect = {.mode = FM_GEMM_ADD_SCALED};
    fm_batch batch = e->next;
    const fm_optimizer *optimizer = e->step.optimizer;
    if (optimizer) {
        effect = (fm_effect){.mode = FM_GEMM_STORE, .update = &update};
    }
    if (part == 0) {
        e->threads = parts;
    }
    fm_step_begin(&e->step, part, parts);
    for (; batch.first < e->end; batch.first += batch.count, batch.number++) {
        if (part == 0 && batch.number == e->warm) {
            e->began = omp_get_wtime();
        }
        batch.count = fm_min(batch_size, e->end - batch.first);
        batch.weight = fm_weight_of(e->step.y, e->step.order, batch.first, batch.count);
        fm_step_first(&e->step, batch, part, parts);
        if (e->step.split.replicated ? train_replica(e, batch, part, parts)
                                     : train_share(e, batch, part, parts)) {
            break;
        }
        if (optimizer) {
            update = fm_update_of(optimizer, rate_of(o, batch.number), batch.number, batch.weight);
            effect.cells = e->step.cells[batch.number % 2];
        } else {
            effect.alpha = -rate_of(o, batch.number);
        }
        if (optimizer && optimizer->clip_norm > 0) {
            fm_step_clipped(&e->step, batch, &effect, part, parts, meet_only, e, &e->diverged);
        } else {
            fm_step_gradient(&e->step, batch, &effect, part, parts);
        }
        if (optimizer && optimizer->max_norm > 0) {
            meet_only(e, part, parts);
            fm_step_limit(&e->step, part, parts);
            meet_only(e, part, parts);
        }
        if (part == 0) {
            account(e, batch);
        }
    }
    if (part == 0) {
        e->took = omp_get_wtime() - e->began;
    }
    fm_step_give_back(&e->step, part, parts);
    fm_restore_subnormals(kept);
}

/* How far from what was measured an exchange may cost, in powers of two. */
enum { DOUBTFUL = 2 };

/* In a gradient alone, threads write shares of one buffer, so none of it is replicated. */
enum { GRADIENT, TRAINING };

static fm_split split_of(const fm_step *step, const fm_samples *x, size_t batch_size, int threads,
                         int purpose, int exchange)
{
    const size_t batch = fm_min(batch_size, x->rows);
    /* Nor where threads meet after the gradient: there each has but a share of it. */
    const fm_optimizer *o = step->optimizer;
    const int meets = fm_is_of_batch(step->loss) || (o && (o->clip_norm > 0 || o->max_norm > 0));
    return fm_split_of(step->network, step->kernels->lanes, batch,
                       (size_t)(threads > 0 ? threads : 1), purpose == TRAINING && !meets,
                       exchange);
}

/* What a training is known by: the ways it has, and what the time of a step depends on. */
static uint64_t key_of(const fm_step *step, size_t batch_size, const fm_ways *ways, int exchange)
{
    const fm_network *network = step->network;
    const size_t facts[] = {(size_t)exchange,         batch_size,
                            step->kernels->lanes,     network->itemsize,
                            step->n_buffers,          (size_t)fm_has_penalty(step->optimizer),
                            (size_t)step->loss->kind, (size_t)step->x->dtype,
                            step->x->starts != NULL,  step->training->dropout != NULL,
                            network->layers[0].inputs};
    uint64_t key = 0;
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        key = fm_mix_key(key, facts[i]);
    }
    for (size_t i = 0; i < network->n_layers; i++) {
        key = fm_mix_key(key, network->layers[i].outputs);
    }
    for (size_t i = 0; i < ways->count; i++) {
        const fm_split *w = &ways->of[i];
        key = fm_mix_key(key, w->threads);
        key = fm_mix_key(key, (uint64_t)(w->by_columns | w->replicated << 1 | w->by_layers << 2));
    }
    return key;
}

/* What threads cost each other is measured where that can decide: where it may pay to share. A
 * training may try what the model would take if that were somewhat more or less. */
static fm_ways ways_of(const fm_step *step, const fm_samples *x, size_t batch_size, int threads,
                       int purpose)
{
    fm_ways ways = {.count = 1, .of = {split_of(step, x, batch_size, threads, purpose, 0)}};
    if (ways.of[0].threads == 1) {
        return ways;
    }
    const double steps = ceil((double)x->rows / (double)batch_size);
    const double work = steps * ways.of[0].alone;
    const int exchange = fm_measure_exchange((int)ways.of[0].threads, work);
    if (exchange == FM_NO_EXCHANGE) {
        ways.of[0] = split_of(step, x, batch_size, 1, purpose, 0);
        return ways;
    }
    ways.of[0] = split_of(step, x, batch_size, threads, purpose, exchange);
    if (purpose == TRAINING && !fm_exchange_is_given()) {
        const int most = exchange + DOUBTFUL;
        for (int other = exchange > DOUBTFUL ? exchange - DOUBTFUL : 0;
             other <= most && other <= FM_MOST_EXCHANGE; other++) {
            fm_add_way(&ways, split_of(step, x, batch_size, threads, purpose, other));
        }
        ways.key = key_of(step, batch_size, &ways, exchange);
    }
    return ways;
}

size_t fm_network_training_workspace(const fm_network *network, const fm_samples *x,
                                     const fm_loss *loss, const fm_optimizer *optimizer,
                                     const double *dropout, size_t batch_size, int threads)
{
    const fm_training options = {.dropout = dropout};
    fm_step step = {.network = network,
                    .kernels = fm_kernels_for(network->dtype),
                    .optimizer = fm_used_optimizer(optimizer),
                    .loss = loss,
                    .training = &options,
                    .n_buffers = 1 + fm_optimizer_buffers(optimizer)};
    /* Of any way that a measurement may lead to, and of a single thread. */
    step.split = split_of(&step, x, batch_size, 1, TRAINING, 0);
    size_t *order, most = fm_step_lay_out(network, x, batch_size, NULL, &step, &order);
    for (int purpose = GRADIENT; purpose <= TRAINING; purpose++) {
        for (int exchange = 0; exchange <= FM_MOST_EXCHANGE; exchange++) {
            const fm_split split = split_of(&step, x, batch_size, threads, purpose, exchange);
            if (!fm_are_equal_ways(split, step.split)) {
                step.split = split;
                most = fm_max(most, fm_step_lay_out(network, x, batch_size, NULL, &step, &order));
            }
        }
    }
    return most;
}

/* What a step is of, and the ways to share it. */
static fm_status set_up(const fm_network *network, const void *parameters, const fm_samples *x,
                        const fm_targets *y, const fm_loss *loss, const fm_training *training,
                        size_t batch_size, int threads, fm_step *step, fm_ways *ways)
{
    const int purpose = training ? TRAINING : GRADIENT;
    const fm_optimizer *optimizer = training ? training->optimizer : NULL;
    const fm_status status = fm_check_arguments(network, parameters, x, y, loss);
    if (status) {
        return status;
    }
    if (!batch_size || threads < 1) {
        return FM_ERROR_VALUE;
    }
    *step = (fm_step){.network = network,
                      .kernels = fm_kernels_for(network->dtype),
                      .optimizer = fm_used_optimizer(optimizer),
                      .n_buffers = 1 + fm_optimizer_buffers(optimizer),
                      .x = x,
                      .y = y,
                      .loss = loss,
                      .training = training};
    step->buffers.of[0] = (void *)parameters; /* written in training only */
    for (size_t i = 1; i < step->n_buffers; i++) {
        step->buffers.of[i] = i > fm_optimizer_states(optimizer) ? optimizer->average
                                                                 : optimizer->state[i - 1];
    }
    *ways = ways_of(step, x, batch_size, threads, purpose);
    return FM_OK;
}

/* Prepare a step that is shared one way in the caller's workspace, of which `order`, whatever the
 * way, is the beginning. */
static fm_status lay_out(fm_step *step, fm_split way, size_t batch_size, void *workspace,
                         size_t workspace_size, size_t **order)
{
    step->split = way;
    if (!workspace || (uintptr_t)workspace % FM_ALIGNMENT ||
        fm_step_lay_out(step->network, step->x, batch_size, NULL, step, order) > workspace_size) {
        return FM_ERROR_MEMORY;
    }
    fm_step_lay_out(step->network, step->x, batch_size, workspace, step, order);
    fm_step_look_at_zeros(step);
    return FM_OK;
}

/* The order of the samples; NULL: as they stand. */
static const size_t *order_of(const fm_samples *x, const fm_loss *loss, const fm_training *training,
                              size_t *order)
{
    if (training && training->shuffle) {
        fm_shuffle(x->rows, training->seed, training->epoch, training->part, order);
        return order;
    }
    if (loss->kind != FM_CUSTOM_LOSS) {
        return NULL;
    }
    /* Its function is told the samples. */
    for (size_t i = 0; i < x->rows; i++) {
        order[i] = i;
    }
    return order;
}

static int are_finite(const fm_training *options, size_t left)
{
    int finite = 1;
    for (size_t i = 0; options->batch_size && i * options->batch_size < left; i++) {
        finite &= isfinite(rate_of(options, i)) != 0;
    }
    return finite;
}

static int are_chances(const fm_network *network, const double *dropout)
{
    int fine = 1;
    for (size_t i = 0; dropout && i < network->n_layers; i++) {
        fine &= dropout[i] >= 0 && dropout[i] < 1;
    }
    return fine;
}

fm_status fm_network_train_epoch(const fm_network *network, void *parameters, const fm_samples *x,
                                 const fm_targets *y, const fm_loss *loss,
                                 const fm_training *options, void *workspace, size_t workspace_size,
                                 fm_totals *totals)
{
    const fm_optimizer *optimizer = options->optimizer;
    fm_status status = fm_check_optimizer(optimizer);
    if (status || options->first > x->rows || !are_finite(options, x->rows - options->first) ||
        !are_chances(network, options->dropout)) {
        return status ? status : FM_ERROR_VALUE;
    }
    epoch e = {.options = options, .totals = options->before, .polled = omp_get_wtime()};
    const size_t batch_size = options->batch_size;
    fm_ways ways;
    status = set_up(network, parameters, x, y, loss, options, batch_size, options->threads, &e.step,
                    &ways);
    if (status) {
        return status;
    }
    e.next.first = options->first;
    size_t *order = NULL;
    do {
        const size_t left = x->rows - e.next.first;
        size_t steps;
        int is_trial;
        const size_t steps_left = left / batch_size + (left % batch_size != 0);
        const size_t way = fm_choose_way(&ways, steps_left, &steps, &is_trial);
        const int begins = !e.next.number;
        if (begins || !fm_are_equal_ways(ways.of[way], e.step.split)) {
            status = lay_out(&e.step, ways.of[way], batch_size, workspace, workspace_size, &order);
        }
        if (status) {
            return status;
        }
        if (begins) {
            e.step.order = order_of(x, loss, options, order);
        }
        e.warm = e.next.number + steps / 4;
        e.end = steps <= left / batch_size ? e.next.first + steps * batch_size : x->rows;
        fm_in_parallel((int)e.step.split.threads, train, &e);
        settle(&e);
        if (is_trial && e.threads == e.step.split.threads && !e.status) {
            fm_tell_way(&ways, way, e.next.number + steps - e.warm, e.took);
        }
        e.next.first = e.end;
        e.next.number += steps;
    } while (e.end < x->rows && !e.diverged && !e.status);
    *totals = e.totals;
    if (optimizer) {
        options->optimizer->steps += e.totals.steps - options->before.steps;
    }
    return e.diverged ? FM_ERROR_DIVERGED : (fm_status)e.status;
}

typedef struct {
    fm_step step;
    fm_batch batch;
    void *gradient;
    int refused; /* by the loss function; thread 0's own */
    fm_barrier barrier;
} batch_gradient;

static void meet_in_gradient(void *context, size_t part, size_t parts)
{
    batch_gradient *b = context;
    (void)part;
    fm_barrier_meet(&b->barrier, parts);
}

static void gradient_part(void *context, size_t part, size_t parts)
{
    batch_gradient *b = context;
    fm_step_begin(&b->step, part, parts);
    int refused = 0;
    fm_step_first(&b->step, b->batch, part, parts);
    fm_barrier_meet(&b->barrier, parts);
    if (b->step.split.by_layers) {
        refused = fm_step_layers(&b->step, b->batch, part, parts, meet_in_gradient, b);
    } else if (fm_is_of_batch(b->step.loss)) {
        refused = fm_step_batch(&b->step, b->batch, part, parts, meet_in_gradient, b);
    } else {
        fm_step_rows(&b->step, b->batch, part, parts, never, NULL);
    }
    if (part == 0) {
        b->refused = refused;
    }
    fm_barrier_meet(&b->barrier, parts);
    const fm_effect store = {.mode = FM_GEMM_STORE, .gradient = b->gradient};
    fm_step_gradient(&b->step, b->batch, &store, part, parts);
}

fm_status fm_network_gradient(const fm_network *network, const void *parameters,
                              const fm_samples *x, const fm_targets *y, const fm_loss *loss,
                              int threads, void *gradient, void *workspace, size_t workspace_size,
                              fm_totals *totals)
{
    const size_t count = x->rows;
    batch_gradient b = {.batch = {.count = count}, .gradient = gradient};
    size_t *order;
    fm_ways ways;
    fm_status status = set_up(network, parameters, x, y, loss, NULL, count, threads, &b.step,
                              &ways);
    if (!status) {
        status = lay_out(&b.step, ways.of[0], count, workspace, workspace_size, &order);
    }
    if (status) {
        return status;
    }
    b.step.order = order_of(x, loss, NULL, order);
    b.batch.weight = fm_weight_of(y, NULL, 0, count);
    fm_in_parallel((int)b.step.split.threads, gradient_part, &b);
    *totals = (fm_totals){.weight = b.batch.weight, .samples = count};
    totals->loss = fm_step_loss(&b.step, b.batch, &totals->correct);
    return b.refused ? FM_ERROR_INTERRUPTED : FM_OK;
}
