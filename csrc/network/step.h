/* A training step, cut so that any number of threads can share it.
 *
 * Forward, loss and backward of a sample need nothing of other samples, so threads take rows of
 * the batch. A weight's gradient sums over the whole batch, so there threads take weights: inputs
 * of each layer, all outputs. The first layer is the largest as a rule, and a weight that one core
 * has updated must travel to every core that reads it; so where the batch is small beside the
 * layer, threads keep columns of it to themselves instead, in both directions, and what travels is
 * the layer's output. Where the other layers are small too, every thread does all of them rather
 * than wait for the others' shares. None of this changes an element's arithmetic. */
#ifndef FM_STEP_H
#define FM_STEP_H

#include "split.h"

/* The parameters, an optimizer's states and the averages, which are laid out alike. */
enum { FM_BUFFERS = 2 + FM_STATES };
typedef struct {
    void *of[FM_BUFFERS];
} fm_buffers;

/* What becomes of gradients: they are stored, or alpha times them is added, or used for a step. */
typedef struct {
    fm_gemm_mode mode;
    double alpha;
    const fm_update *update;
    void *gradient; /* NULL for the parameters */
    double *cells;  /* for the penalty of a step, or NULL */
} fm_effect;

/* Returns when all threads have called it. */
typedef void (*fm_meet)(void *context, size_t part, size_t parts);

/* What the layers past the first, and the loss, work on. */
typedef struct {
    fm_buffers buffers; /* of the whole network; of the layers past the first if replicated */
    void **outputs;     /* per layer but the first, batch x out_stride */
    void **slopes;  /* per layer that keeps them or whose outputs are dropped, else NULL; batch x
                       out_stride: by what the way back multiplies */
    void **deltas;  /* per layer, batch x out_stride: gradients of the pre-activations */
    double *losses; /* per sample of the batch */
    uint8_t *correct;
} fm_rest;

typedef struct {
    const fm_network *network;
    const fm_kernels *kernels;
    const fm_optimizer *optimizer; /* NULL: the update is a part of the gradient's product */
    fm_buffers buffers;
    size_t n_buffers;
    const fm_samples *x;
    const fm_targets *y;
    const fm_loss *loss;
    const fm_training *training; /* NULL for a gradient alone */
    const size_t *order;         /* of the samples; NULL: as they stand */
    fm_split split;
    int skip_forward, skip_gradient; /* zeros of the input */
    int in_place;                    /* rows are read where the caller has them */

    void *input;       /* batch x in_stride of the first layer; by columns, one for each thread */
    size_t input_rows; /* from one thread's input to the next, or 0 */
    const void **rows; /* where the batch's rows begin; by columns, for each thread */
    void *first_output[2]; /* the first layer's outputs of even and odd steps */
    fm_scratch *scratch;   /* per thread */
    fm_buffers *panels;    /* per thread, by columns: its columns of the first layer's weights */
    fm_rest *rests;        /* one, or if replicated one for each thread */
    void ***transposed;    /* per thread, but by layers, and layer but the first: its weights */
    fm_dice dice;          /* its buffers, for such a loss */
    void *gradient; /* where it is clipped: laid out as the parameters, and the cells of its squares
                     */
    double *squares;
    double *cells[2]; /* of the penalties of even and odd steps, NULL without: while thread 0 adds
                         up one, another may be in the next */
} fm_step;

/* Lay out the buffers of steps of up to batch_size of the samples, split as step->split says, and
 * room for as many indices, from `base` on; base may be NULL to learn the size. Returns the
 * bytes taken, SIZE_MAX if too many. */
size_t fm_step_lay_out(const fm_network *network, const fm_samples *x, size_t batch_size,
                       void *base, fm_step *step, size_t **order);
/* Choose whether to skip zeros by looking at some of the samples. */
void fm_step_look_at_zeros(fm_step *step);

/* A batch: `count` samples from position `first` of the order on, the number-th of the epoch, and
 * the sum of their weights. */
typedef struct {
    size_t first, count, number;
    double weight;
} fm_batch;

/* Before a thread's first step: fetch its copies of parameters. After its last, or in any thread
 * while all are in the rows of a step: give back those that only it keeps up to date. */
void fm_step_begin(const fm_step *step, size_t part, size_t parts);
void fm_step_give_back(const fm_step *step, size_t part, size_t parts);

/* The phases of a step for thread `part` of `parts`. Split by columns, gather and first may run
 * while other threads are still in the last step's gradient; split by rows, `first` is part of
 * `rows`. Between rows and gradient all threads must meet, likewise before rows. */
void fm_step_first(const fm_step *step, fm_batch batch, size_t part, size_t parts);
/* `stop` is asked before every block of rows and after the last; where it says so, the rest is left
 * undone. */
void fm_step_rows(const fm_step *step, fm_batch batch, size_t part, size_t parts,
                  int (*stop)(void *context, size_t part), void *context);
/* What fm_step_rows does for losses over the batch: all rows forward, the loss, all rows back.
 * Returns, in part 0, whether the caller's loss function says to stop. */
int fm_step_batch(const fm_step *step, fm_batch batch, size_t part, size_t parts, fm_meet meet,
                  void *context);
/* What either does, layer by layer: every thread takes columns of each, for all rows, so that large
 * weights are read once and not by every thread. */
int fm_step_layers(const fm_step *step, fm_batch batch, size_t part, size_t parts, fm_meet meet,
                   void *context);
/* Of a batch that has passed: the sum of its losses, weighted; its hits are added to *correct. */
double fm_step_loss(const fm_step *step, fm_batch batch, size_t *correct);
void fm_step_gradient(const fm_step *step, fm_batch batch, const fm_effect *effect, size_t part,
                      size_t parts);
/* With a norm to clip at: what fm_step_gradient does for an effect that has an update. Sets
 * *diverged where the norm is not finite. */
void fm_step_clipped(const fm_step *step, fm_batch batch, const fm_effect *effect, size_t part,
                     size_t parts, fm_meet meet, void *context, int *diverged);
/* With a limit to norms: scale the weights of each output, and bring the averages up to date, after
 * all threads have done their part of the gradient and before any transposes weights. */
void fm_step_limit(const fm_step *step, size_t part, size_t parts);

#endif
