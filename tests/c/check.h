/* Arrays between guards, and the comparison of results with what they should be.
 *
 * Elements are kept twice: in the dtype under test, where the library sees them, and as doubles.
 * Tolerances are bounds of rounding errors. With u = eps / 2 of the dtype, a sum of k products is
 * off by at most gamma(k) sum|a||b|, gamma(k) = k u / (1 - k u) (Higham, "Accuracy and Stability of
 * Numerical Algorithms", section 3.1); what it is compared with is a sum of doubles, so u is
 * enlarged by theirs. */
#ifndef CHECK_H
#define CHECK_H

#include <stddef.h>

#include "fastmlp.h"

extern fm_dtype dtype; /* under test */
extern double unit;    /* u */
extern double tiny;    /* the least normal number: below it digits are lost */
extern double library; /* relative error allowed to exp, expm1 and log1p, as in tests/test_ops.py */
double gamma_of(double k);

/* Of the elements between one row and the next; the results of a case must not touch them. */
extern size_t gap;

typedef struct {
    size_t rows, cols;
    double *value; /* rows x cols: the elements or, of a result, what they should be */
    double *bound; /* of a result: how far they may be off */
    fm_matrix matrix;
    char *memory, *first; /* guards included; `first`: as the first call left it */
    size_t bytes;
} array;

/* Choose the dtype and the instruction set, and begin to count. */
void begin_isa(const char *isa);
void begin_dtype(fm_dtype as);
/* Print the counts; returns how many results were wrong. */
size_t end_isa(void);

/* Name a case, and free what the case before it took. */
void begin_case(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *take(size_t bytes);

uint64_t random_bits(void);
/* Uniform in (-scale, scale), with a spread of about scale / 2. */
double random_value(double scale);
double rounded(double x); /* to the dtype */

array argument(size_t rows, size_t cols, double scale);
array transposed(const array *a);
array result(size_t rows, size_t cols);
/* Write what `value` holds where the library sees it. */
void put(const array *a);
/* Before each call: fill a result with NaN. */
void clear(const array *a);
double element(const array *a, size_t i, size_t j);
/* After each call: the first must be within the bounds, the others must have its bits. */
void compare(array *a, fm_status status, const char *what);
void compare_number(double number, double expected, double bound, const char *what);
void expect(int condition, const char *what);

/* Run what follows with 1, 2 and 3 threads. */
#define FOR_THREADS(threads)                                                                       \
    for (int threads = 1; threads <= 3 && (fm_set_num_threads(threads), 1); threads++)

#endif
