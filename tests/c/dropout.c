/* Dropout of the inputs of one linear layer, dense and compressed, against one block of Philox 4x32
 * at a time. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "parity.h"

enum { ROWS = 5, OUTPUTS = 3, ROUNDS = 7 };
static const double chance = 0.3;
static const uint64_t seed = 0x123456789abcdef0u, epoch = 6, seen = ((uint64_t)3 << 32) + 9;

static const size_t widths[] = {1, 2, 15, 16, 17, 31, 33, 63, 65, 127, 128, 129, 300};

/* What input j of a sample is multiplied by. */
static double factor_of(uint64_t sample, size_t j)
{
    uint32_t word[4] = {(uint32_t)(j / 128 * 16 + j % 16), (uint32_t)(sample >> 32) << 16,
                        (uint32_t)sample, (uint32_t)epoch};
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int i = 0; i < ROUNDS; i++) {
        const uint64_t a = (uint64_t)0xD2511F53u * word[0], b = (uint64_t)0xCD9E8D57u * word[2];
        const uint32_t next[4] = {(uint32_t)(b >> 32) ^ word[1] ^ key[0], (uint32_t)b,
                                  (uint32_t)(a >> 32) ^ word[3] ^ key[1], (uint32_t)a};
        memcpy(word, next, sizeof word);
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
    const size_t draw = j % 128 / 16;
    const uint32_t threshold = (uint32_t)(chance * 65536 + 0.5);
    return (word[draw / 2] >> 16 * (draw % 2) & 0xffff) < threshold
               ? 0
               : rounded(65536.0 / (65536 - threshold));
}

static void train(const fm_network *network, const fm_samples *x, const array *t,
                  const array *start, array *parameters, const char *what)
{
    const fm_targets targets = {.values = &t->matrix, .count = ROWS};
    const fm_loss mse = {.kind = FM_MEAN_SQUARED_ERROR, .scale = 1};
    FOR_THREADS(threads)
    {
        fm_totals totals = {0};
        const fm_training training = {.batch_size = ROWS,
                                      .threads = threads,
                                      .lr = 1,
                                      .seed = seed,
                                      .epoch = epoch,
                                      .dropout = &chance,
                                      .before.samples = seen};
        const size_t size = fm_network_training_workspace(network, x, &mse, NULL, &chance, ROWS,
                                                          threads);
        void *workspace = aligned_alloc(FM_ALIGNMENT, size);
        memcpy(parameters->memory, start->memory, start->bytes);
        const fm_status status = fm_network_train_epoch(network, parameters->matrix.data, x,
                                                        &targets, &mse, &training, workspace, size,
                                                        &totals);
        free(workspace);
        compare(parameters, status, what);
    }
}

static void check_width(size_t inputs)
{
    begin_case("dropout of %zu inputs", inputs);
    gap = 0;
    const fm_dense_spec spec = {inputs, OUTPUTS, FM_IDENTITY};
    fm_network *network;
    fm_layer_layout at;
    expect(fm_network_create(dtype, &spec, 1, &network) == FM_OK, "create");
    expect(fm_network_layout(network, 0, &at) == FM_OK, "layout");
    const array x = argument(ROWS, inputs, 1), t = argument(ROWS, OUTPUTS, 1);
    const array start = argument(1, fm_network_parameters(network), 0);
    array parameters = result(1, start.cols);
    memset(parameters.value, 0, parameters.cols * sizeof *parameters.value);
    /* From nothing, the step is the gradient: a sum over the rows, and what that is divided by. */
    const double share = 2.0 / (ROWS * OUTPUTS), error = gamma_of(2 * ROWS + 10);
    for (size_t j = 0; j < parameters.cols; j++) {
        parameters.bound[j] = error * ROWS * share * 2;
    }
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t k = 0; k < OUTPUTS; k++) {
            const double slope = share * t.value[i * OUTPUTS + k];
            for (size_t j = 0; j < inputs; j++) {
                parameters.value[at.weight + j * at.weight_stride + k] += factor_of(seen + i, j) *
                                                                          x.value[i * inputs + j] *
                                                                          slope;
            }
            parameters.value[at.bias + k] += slope;
        }
    }
    int64_t *starts = take((ROWS + 1) * sizeof *starts);
    int32_t *columns = take(ROWS * inputs * sizeof *columns);
    for (size_t i = 0; i < ROWS * inputs; i++) {
        columns[i] = (int32_t)(i % inputs);
    }
    for (size_t i = 0; i <= ROWS; i++) {
        starts[i] = (int64_t)(i * inputs);
    }
    const ptrdiff_t stride = (ptrdiff_t)inputs;
    const fm_samples dense = {x.matrix.data, ROWS, inputs, stride, NULL, NULL, dtype};
    const fm_samples compressed = {x.matrix.data, ROWS, inputs, stride, starts, columns, dtype};
    train(network, &dense, &t, &start, &parameters, "dense");
    train(network, &compressed, &t, &start, &parameters, "compressed");
    fm_network_free(network);
}

void check_dropout(void)
{
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        check_width(widths[i]);
    }
}
