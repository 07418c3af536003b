/* How threads share a training step. */
#ifndef FM_SPLIT_H
#define FM_SPLIT_H

#include "network.h"

typedef struct {
    size_t threads;
    int by_columns; /* each thread keeps columns of the first layer to itself */
    int replicated; /* and does all of the other layers, as all do; or */
    int by_layers;  /* layers are passed one after the other, columns of each split; or else rows */
    double seconds; /* that a step takes, by the model */
    double alone;   /* that a step of dense rows would take a single thread */
} fm_split;

/* The quickest way, by a model of its costs, for batches of `batch` on up to `threads` threads
 * with vectors of `lanes` elements, where a line from another core costs 2^exchange ns. */
fm_split fm_split_of(const fm_network *network, size_t lanes, size_t batch, size_t threads,
                     int may_replicate, int exchange);

#endif
