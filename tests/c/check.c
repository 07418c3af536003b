#include "check.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes before and after an array, and failures that are told in full. */
enum { GUARD = 64, TOLD = 8 };
/* A NaN, in both dtypes. */
enum { FILL = 0xFF };

fm_dtype dtype;
double unit, tiny, library;
size_t gap;

static char case_name[160];
static const char *isa_name;
static size_t checked, failed;

static char memory_of_case[(size_t)64 << 20] __attribute__((aligned(FM_ALIGNMENT)));
static size_t taken;

double gamma_of(double k)
{
    return k * unit / (1 - k * unit);
}

void begin_isa(const char *isa)
{
    isa_name = isa;
    checked = failed = 0;
}

void begin_dtype(fm_dtype as)
{
    dtype = as;
    unit = (as == FM_FLOAT32 ? FLT_EPSILON : DBL_EPSILON) / 2 + DBL_EPSILON / 2;
    tiny = as == FM_FLOAT32 ? FLT_MIN : DBL_MIN;
    library = 4 * unit;
}

size_t end_isa(void)
{
    printf("%s: %zu results, %zu wrong\n", isa_name, checked, failed);
    fflush(stdout);
    return failed;
}

void begin_case(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(case_name, sizeof case_name, format, arguments);
    va_end(arguments);
    taken = 0;
}

void *take(size_t bytes)
{
    char *piece = memory_of_case + taken;
    if (bytes > sizeof memory_of_case - taken - FM_ALIGNMENT) {
        printf("%s needs more memory than there is\n", case_name);
        exit(2);
    }
    taken += (bytes + FM_ALIGNMENT - 1) / FM_ALIGNMENT * FM_ALIGNMENT;
    return piece;
}

static void tell(int right, const char *what, const char *format, ...)
{
    checked++;
    if (right) {
        return;
    }
    if (++failed <= TOLD) {
        va_list arguments;
        va_start(arguments, format);
        printf("%s, %s, %s%s%s: ", isa_name, dtype == FM_FLOAT32 ? "float32" : "float64", case_name,
               *what ? ", " : "", what);
        vprintf(format, arguments);
        printf("\n");
        va_end(arguments);
    }
}

/* xorshift64*, by Vigna. */
uint64_t random_bits(void)
{
    static uint64_t state = 0x9E3779B97F4A7C15u;
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545F4914F6CDD1Du;
}

double random_value(double scale)
{
    return scale * (2 * (double)(random_bits() >> 11) * 0x1p-53 - 1);
}

double rounded(double x)
{
    return dtype == FM_FLOAT32 ? (double)(float)x : x;
}

static size_t itemsize(void)
{
    return dtype == FM_FLOAT32 ? sizeof(float) : sizeof(double);
}

static array allocated(size_t rows, size_t cols)
{
    const size_t stride = cols + gap;
    array a = {.rows = rows, .cols = cols, .bytes = 2 * GUARD + rows * stride * itemsize()};
    a.value = take(rows * cols * sizeof(double));
    a.memory = take(a.bytes);
    memset(a.memory, FILL, a.bytes);
    a.matrix = (fm_matrix){a.memory + GUARD, rows, cols, (ptrdiff_t)stride, dtype};
    return a;
}

static char *place(const array *a, size_t i, size_t j)
{
    return (char *)a->matrix.data + (i * (size_t)a->matrix.stride + j) * itemsize();
}

void put(const array *a)
{
    for (size_t i = 0; i < a->rows; i++) {
        for (size_t j = 0; j < a->cols; j++) {
            const double x = a->value[i * a->cols + j];
            const float single = (float)x;
            memcpy(place(a, i, j), dtype == FM_FLOAT32 ? (const void *)&single : (const void *)&x,
                   itemsize());
        }
    }
}

double element(const array *a, size_t i, size_t j)
{
    float single;
    double x;
    if (dtype == FM_FLOAT64) {
        memcpy(&x, place(a, i, j), sizeof x);
        return x;
    }
    memcpy(&single, place(a, i, j), sizeof single);
    return single;
}

array argument(size_t rows, size_t cols, double scale)
{
    const array a = allocated(rows, cols);
    for (size_t i = 0; i < rows * cols; i++) {
        a.value[i] = rounded(random_value(scale));
    }
    put(&a);
    return a;
}

array transposed(const array *a)
{
    const array t = allocated(a->cols, a->rows);
    for (size_t i = 0; i < a->rows; i++) {
        for (size_t j = 0; j < a->cols; j++) {
            t.value[j * a->rows + i] = a->value[i * a->cols + j];
        }
    }
    put(&t);
    return t;
}

array result(size_t rows, size_t cols)
{
    array a = allocated(rows, cols);
    a.bound = take(rows * cols * sizeof(double));
    return a;
}

void clear(const array *a)
{
    memset(a->memory, FILL, a->bytes);
}

/* Whether nothing but the elements has been written. */
static int guards_are_whole(const array *a)
{
    const char *at = a->memory;
    for (size_t i = 0; i <= a->rows; i++) {
        const char *end = i < a->rows ? place(a, i, 0) : a->memory + a->bytes;
        for (; at < end; at++) {
            if ((unsigned char)*at != FILL) {
                return 0;
            }
        }
        at += a->cols * itemsize();
    }
    return 1;
}

static int is_within(double x, double expected, double bound)
{
    if (!isfinite(expected)) {
        return isnan(expected) ? isnan(x) : x == expected;
    }
    return fabs(x - expected) <= bound;
}

void compare(array *a, fm_status status, const char *what)
{
    if (status) {
        tell(0, what, "%s", fm_status_message(status));
        return;
    }
    if (a->first) {
        tell(!memcmp(a->first, a->memory, a->bytes), what, "the bits differ between calls");
        return;
    }
    a->first = take(a->bytes);
    memcpy(a->first, a->memory, a->bytes);
    if (!guards_are_whole(a)) {
        tell(0, what, "something beside the result was written");
        return;
    }
    for (size_t i = 0; i < a->rows; i++) {
        for (size_t j = 0; j < a->cols; j++) {
            const double x = element(a, i, j), expected = a->value[i * a->cols + j];
            const double bound = a->bound[i * a->cols + j];
            if (!is_within(x, expected, bound)) {
                tell(0, what, "element (%zu, %zu) is %.17g, not %.17g +- %.2g", i, j, x, expected,
                     bound);
                return;
            }
        }
    }
    tell(1, what, "");
}

void compare_number(double number, double expected, double bound, const char *what)
{
    tell(is_within(number, expected, bound), what, "%.17g, not %.17g +- %.2g", number, expected,
         bound);
}

void expect(int condition, const char *what)
{
    tell(condition, what, "is not so");
}
