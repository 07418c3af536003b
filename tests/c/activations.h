/* Activations by their definitions, in double. */
#ifndef ACTIVATIONS_H
#define ACTIVATIONS_H

#include "fastmlp.h"

/* Of the pointwise ones: f(z), f'(z), and f'(z) as the library has it from y = f(z), or from z. */
double activated(fm_activation activation, double z);
double slope_at(fm_activation activation, double z);
double slope_from(fm_activation activation, double y);
/* Whether the library has slopes from z. */
int takes_z(fm_activation activation);

/* Bounds of their errors, for exact arguments. */
double activation_error(fm_activation activation, double z);
double slope_error(fm_activation activation, double y);
/* The largest |f'|, besides that of exp. */
double steepest(fm_activation activation);

#endif
