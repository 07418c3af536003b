/* The plan: from a list of layers to sizes and offsets. */
#include <stdlib.h>

#include "network.h"

/* Widths and counts beyond this are refused, so that products of two of them cannot overflow. */
static const size_t largest_width = (size_t)1 << 28;
enum { LARGEST_DEPTH = 1 << 16 };

fm_status fm_network_create(fm_dtype dtype, const fm_dense_spec *specs, size_t n_layers,
                            fm_network **network)
{
    if (!fm_is_real(dtype)) {
        return FM_ERROR_DTYPE;
    }
    if (!n_layers || n_layers > LARGEST_DEPTH) {
        return FM_ERROR_VALUE;
    }
    const size_t item = dtype == FM_FLOAT32 ? sizeof(float) : sizeof(double);
    const size_t unit = FM_ALIGNMENT / item;
    for (size_t i = 0; i < n_layers; i++) {
        const fm_dense_spec *s = &specs[i];
        const int last = i + 1 == n_layers;
        if (!s->inputs || !s->outputs || s->inputs > largest_width || s->outputs > largest_width) {
            return FM_ERROR_SHAPE;
        }
        if (i && s->inputs != specs[i - 1].outputs) {
            return FM_ERROR_SHAPE;
        }
        if (s->activation < 0 || s->activation > FM_SOFTMAX || (s->activation >= FM_EXP && !last)) {
            return FM_ERROR_VALUE;
        }
    }
    fm_network *net = calloc(1, sizeof *net + n_layers * sizeof net->layers[0]);
    if (!net) {
        return FM_ERROR_MEMORY;
    }
    const fm_activation output = specs[n_layers - 1].activation;
    net->dtype = dtype;
    net->itemsize = item;
    net->n_layers = n_layers;
    net->fused = output == FM_SOFTMAX || output == FM_SIGMOID || output == FM_EXP;
    net->widest = fm_round_up(specs[0].inputs, unit);
    for (size_t i = 0; i < n_layers; i++) {
        layer *l = &net->layers[i];
        *l = (layer){.type = &fm_dense_layer,
                     .inputs = specs[i].inputs,
                     .outputs = specs[i].outputs,
                     .in_stride = fm_round_up(specs[i].inputs, unit),
                     .out_stride = fm_round_up(specs[i].outputs, unit),
                     .activation = specs[i].activation,
                     .keeps_slopes = fm_takes_z(specs[i].activation)};
        l->weight = net->n_parameters;
        l->bias = l->weight + l->inputs * l->out_stride;
        l->transposed_size = l->outputs * l->in_stride;
        l->cell = net->n_cells;
        l->cells_run = (l->inputs + FM_CELL_INPUTS - 1) / FM_CELL_INPUTS + 1;
        net->n_cells += l->cells_run * (l->out_stride / unit);
        net->n_parameters = l->bias + l->out_stride;
        if (net->n_parameters > SIZE_MAX / 64) {
            free(net);
            return FM_ERROR_SHAPE;
        }
        net->widest = l->out_stride > net->widest ? l->out_stride : net->widest;
    }
    net->n_cells = fm_round_up(net->n_cells, FM_CELL_CHAINS);
    *network = net;
    return FM_OK;
}

void fm_network_free(fm_network *network)
{
    free(network);
}

size_t fm_network_parameters(const fm_network *network)
{
    return network->n_parameters;
}

fm_status fm_network_layout(const fm_network *network, size_t index, fm_layer_layout *layout)
{
    if (index >= network->n_layers) {
        return FM_ERROR_VALUE;
    }
    const layer *l = &network->layers[index];
    *layout = (fm_layer_layout){l->weight, l->out_stride, l->bias};
    return FM_OK;
}

fm_status fm_check_arguments(const fm_network *network, const void *parameters, const fm_samples *x,
                             const fm_targets *y, const fm_loss *loss)
{
    const layer *last = fm_last_layer(network);
    if (!parameters || (uintptr_t)parameters % FM_ALIGNMENT) {
        return FM_ERROR_VALUE;
    }
    if (!x->rows || x->cols != network->layers[0].inputs) {
        return FM_ERROR_SHAPE;
    }
    if (x->dtype != FM_UINT8 && !fm_is_real(x->dtype)) {
        return FM_ERROR_DTYPE;
    }
    if (!y) {
        return FM_OK;
    }
    const fm_status status = fm_check_loss(loss, last->activation);
    return status ? status
                  : fm_check_targets(loss, last->activation, network->dtype, x->rows, last->outputs,
                                     y);
}
