/* Steps of optimizers, see kernels.h for the formulas. */
#include "simd.h"

typedef struct {
    vec rate, keep1, take1, keep2, take2, root, epsilon, decay;
} constants;

/* One vector of weights and of what the optimizer keeps for them; `kind` is a constant at each
 * call. */
ALWAYS_INLINE void step(const constants *c, const fm_update_kind kind, vec g, vec *w, vec *s0,
                        vec *s1)
{
    switch (kind) {
    case FM_UPDATE_MOMENTUM:
        *s0 = vec_fma(c->rate, g, c->keep1 * *s0);
        *w = *w + *s0;
        break;
    case FM_UPDATE_NESTEROV:
        *s0 = vec_fma(c->rate, g, c->keep1 * *s0);
        *w = *w + vec_fma(c->rate, g, c->keep1 * *s0);
        break;
    case FM_UPDATE_ADAM:
    case FM_UPDATE_ADAMW:
        *s0 = vec_fma(c->take1, g, c->keep1 * *s0);
        *s1 = vec_fma(c->take2 * g, g, c->keep2 * *s1);
        if (kind == FM_UPDATE_ADAMW) {
            *w = c->decay * *w;
        }
        *w = vec_fma(c->rate, vec_ratio(*s0, vec_fma(c->root, vec_root(*s1), c->epsilon)), *w);
        break;
    case FM_UPDATE_RMSPROP:
        *s0 = vec_fma(c->take2 * g, g, c->keep2 * *s0);
        *w = vec_fma(c->rate, vec_ratio(g, vec_root(*s0) + c->epsilon), *w);
        break;
    default:
        *s0 = vec_fma(c->take2 * g, g, c->keep2 * *s0);
        *s1 = vec_fma(c->rate, vec_ratio(g, vec_root(*s0) + c->epsilon), c->keep1 * *s1);
        *w = *w + *s1;
    }
}

/* Rows are whole vectors, as in the buffers of a network. */
ALWAYS_INLINE void update(const fm_update *u, const fm_update_block *b, const fm_update_kind kind,
                          const int states)
{
    const constants c = {vec_set1((real)-u->rate),   vec_set1((real)u->keep1),
                         vec_set1((real)u->take1),   vec_set1((real)u->keep2),
                         vec_set1((real)u->take2),   vec_set1((real)u->root),
                         vec_set1((real)u->epsilon), vec_set1((real)u->decay)};
    for (size_t r = 0; r < b->rows; r++) {
        const ptrdiff_t row = (ptrdiff_t)r;
        const real *gradient = (const real *)b->gradient + row * b->gradient_row;
        real *weights = (real *)b->weights + row * b->weights_row;
        real *first = (real *)b->state[0] + row * b->state_row;
        real *second = states > 1 ? (real *)b->state[1] + row * b->state_row : NULL;
        for (size_t i = 0; i < b->n; i += LANES) {
            vec w = vec_load(weights + i), s0 = vec_load(first + i), s1 = s0;
            if (states > 1) {
                s1 = vec_load(second + i);
            }
            step(&c, kind, vec_load(gradient + i), &w, &s0, &s1);
            vec_store(weights + i, w);
            vec_store(first + i, s0);
            if (states > 1) {
                vec_store(second + i, s1);
            }
        }
    }
}

#define UPDATE(name, kind, states)                                                                 \
    static void name(const fm_update *u, const fm_update_block *b) { update(u, b, kind, states); }

UPDATE(momentum, FM_UPDATE_MOMENTUM, 1)
UPDATE(nesterov, FM_UPDATE_NESTEROV, 1)
UPDATE(adam, FM_UPDATE_ADAM, 2)
UPDATE(adamw, FM_UPDATE_ADAMW, 2)
UPDATE(rmsprop, FM_UPDATE_RMSPROP, 1)
UPDATE(rmsprop_momentum, FM_UPDATE_RMSPROP_MOMENTUM, 2)

void KERNEL(fill_optimizers)(fm_kernels *table)
{
    table->update[FM_UPDATE_MOMENTUM] = momentum;
    table->update[FM_UPDATE_NESTEROV] = nesterov;
    table->update[FM_UPDATE_ADAM] = adam;
    table->update[FM_UPDATE_ADAMW] = adamw;
    table->update[FM_UPDATE_RMSPROP] = rmsprop;
    table->update[FM_UPDATE_RMSPROP_MOMENTUM] = rmsprop_momentum;
}
