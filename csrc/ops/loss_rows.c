/* Losses that are a mean over samples, and hits. */
#include <string.h>

#include "ops.h"

static size_t sample_of(const fm_row_losses *l, size_t row)
{
    return fm_in_order(l->order, l->first + row);
}

static const void *values_of(const fm_targets *targets, size_t sample, size_t item)
{
    return targets->values ? fm_row(targets->values, sample, item) : NULL;
}

int fm_is_hit(const fm_kernels *kernels, fm_activation output, size_t n, const void *predictions,
              const fm_targets *targets, size_t sample)
{
    const void *values = values_of(targets, sample, kernels->itemsize);
    if (output == FM_SOFTMAX) {
        const size_t label = values ? kernels->argmax(n, values) : (size_t)targets->indices[sample];
        return kernels->argmax(n, predictions) == label;
    }
    return output == FM_SIGMOID && kernels->same_sides(n, predictions, values);
}

/* What a sample's loss is multiplied by, but for the mean over outputs. */
static double weight_of(const fm_row_losses *l, size_t sample)
{
    return l->loss->scale * (l->targets->weights ? l->targets->weights[sample] : 1);
}

/* What the sum over a sample's outputs is divided by. */
static double divisor_of(const fm_row_losses *l)
{
    const fm_loss_kind kind = l->loss->kind;
    const int summed = kind == FM_SOFTMAX_CROSS_ENTROPY || kind == FM_SOFTMAX_FOCAL;
    return summed ? 1 : (double)l->predictions.cols;
}

/* What the gradient of a sample's sum is multiplied by. */
static double scale_of(const fm_row_losses *l, double weight)
{
    return weight / l->weight / divisor_of(l);
}

/* A sample without weight: its predictions may be anything. */
static double ignore(const fm_row_losses *l, size_t row)
{
    const size_t item = l->kernels->itemsize;
    memset(fm_row(&l->gradient, row, item), 0, l->predictions.cols * item);
    return 0;
}

static double loss_of_row(const fm_row_losses *l, size_t row)
{
    const size_t sample = sample_of(l, row), item = l->kernels->itemsize;
    const double weight = weight_of(l, sample);
    if (weight == 0) {
        return ignore(l, row);
    }
    const void *values = values_of(l->targets, sample, item);
    const size_t label = values ? 0 : (size_t)l->targets->indices[sample];
    const double sum = l->kernels->row_loss[l->loss->kind](
        l->loss, l->predictions.cols, fm_row(&l->predictions, row, item), values, label,
        scale_of(l, weight), fm_row(&l->gradient, row, item));
    return weight * (sum / divisor_of(l));
}

/* Whether samples go side by side. A single one would be quicker by itself, but a sample's loss
 * must not depend on how many there are. */
static int takes_lanes(const fm_row_losses *l)
{
    const fm_loss *loss = l->loss;
    const int plain = l->kernels->lane_loss[loss->kind] && loss->parameter == 0 && !loss->weights;
    /* Hits are those of the output that the loss is of. */
    const int is_softmax = loss->kind == FM_SOFTMAX_CROSS_ENTROPY;
    const int tells_hits = l->output == (is_softmax ? FM_SOFTMAX : FM_SIGMOID);
    return plain && l->predictions.cols <= FM_LANE_OUTPUTS && (!l->hits || tells_hits);
}

static void put(void *to, size_t i, double x, size_t item)
{
    if (item == sizeof(float)) {
        ((float *)to)[i] = (float)x;
    } else {
        ((double *)to)[i] = x;
    }
}

enum { LANE_BYTES = FM_LANE_OUTPUTS * FM_ALIGNMENT };

/* A sample's targets, down a column of zeros. */
static void put_targets(const fm_row_losses *l, size_t sample, size_t lane, char *to)
{
    const size_t item = l->kernels->itemsize, lanes = l->kernels->lanes;
    const char *values = values_of(l->targets, sample, item);
    if (!values) {
        put(to, (size_t)l->targets->indices[sample] * lanes + lane, 1, item);
        return;
    }
    for (size_t j = 0; j < l->predictions.cols; j++) {
        memcpy(to + (j * lanes + lane) * item, values + j * item, item);
    }
}

static void losses_of_lanes(const fm_row_losses *l, fm_range rows)
{
    const fm_kernels *k = l->kernels;
    const size_t count = rows.end - rows.begin, n = l->predictions.cols, item = k->itemsize;
    char z[LANE_BYTES] __attribute__((aligned(FM_ALIGNMENT)));
    char targets[LANE_BYTES] __attribute__((aligned(FM_ALIGNMENT)));
    char scale[FM_ALIGNMENT] __attribute__((aligned(FM_ALIGNMENT)));
    double losses[FM_MOST_LANES], weights[FM_MOST_LANES];
    uint8_t hits[FM_MOST_LANES];
    memset(targets, 0, n * k->lanes * item);
    if (count < k->lanes) {
        memset(z, 0, n * k->lanes * item);
        memset(scale, 0, k->lanes * item);
    }
    for (size_t r = 0; r < count; r++) {
        const size_t sample = sample_of(l, rows.begin + r);
        weights[r] = weight_of(l, sample);
        put(scale, r, scale_of(l, weights[r]), item);
        put_targets(l, sample, r, targets);
    }
    k->transpose(count, n, fm_row(&l->predictions, rows.begin, item), l->predictions.stride, z,
                 (ptrdiff_t)k->lanes);
    const fm_lane_losses lanes = {n, z, targets, scale, losses, hits};
    k->lane_loss[l->loss->kind](&lanes);
    k->transpose(n, count, z, (ptrdiff_t)k->lanes, fm_row(&l->gradient, rows.begin, item),
                 l->gradient.stride);
    for (size_t r = 0; r < count; r++) {
        const size_t row = rows.begin + r;
        l->losses[row] = weights[r] == 0 ? ignore(l, row)
                                         : weights[r] * (losses[r] / divisor_of(l));
        if (l->hits) {
            l->hits[row] = hits[r];
        }
    }
}

void fm_loss_rows(const fm_row_losses *l, fm_range rows)
{
    if (takes_lanes(l)) {
        for (size_t i = rows.begin; i < rows.end; i += l->kernels->lanes) {
            losses_of_lanes(l, (fm_range){i, fm_min(i + l->kernels->lanes, rows.end)});
        }
        return;
    }
    for (size_t i = rows.begin; i < rows.end; i++) {
        if (l->hits) {
            l->hits[i] = (uint8_t)fm_is_hit(l->kernels, l->output, l->predictions.cols,
                                            fm_row(&l->predictions, i, l->kernels->itemsize),
                                            l->targets, sample_of(l, i));
        }
        l->losses[i] = loss_of_row(l, i);
    }
}
