/* What is checked, on the current instruction set and dtype. */
#ifndef PARITY_H
#define PARITY_H

#include "check.h"

void check_operations(void); /* one by one */
void check_networks(void);   /* training, prediction */
void check_dropout(void);
void check_regularized(void); /* penalties, norms, averages */

/* Losses with parameters, weights of outputs and weights of samples. */
void check_losses(size_t rows, size_t n);
/* Call a loss, whose truth has been written to `gradient`. */
void compare_loss(const fm_loss *loss, const array *predictions, const fm_targets *targets,
                  array *gradient, double expected, double bound, const char *what);

#endif
