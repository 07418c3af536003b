/* Activations by their definitions, and what rounding may do to them. */
#include "activations.h"

#include <math.h>

#include "check.h"

static const double selu_scale = 1.0507009873554804934, selu_alpha = 1.6732632423543772848;

static double sigmoid(double z)
{
    return 1 / (1 + exp(-z));
}

static double softplus(double z)
{
    return fmax(z, 0) + log1p(exp(-fabs(z)));
}

/* In long double, as the error of z / sqrt(2) grows with its square. */
static double normal_distribution(double z)
{
    return (double)(erfcl(-(long double)z / sqrtl(2)) / 2);
}

static double normal_density(double z)
{
    return exp(-z * z / 2) / sqrt(2 * acos(-1));
}

int takes_z(fm_activation activation)
{
    return activation == FM_GELU || activation == FM_SILU || activation == FM_MISH;
}

double activated(fm_activation activation, double z)
{
    switch (activation) {
    case FM_RELU:
        return z > 0 || isnan(z) ? z : 0;
    case FM_SIGMOID:
        return sigmoid(z);
    case FM_TANH:
        return tanh(z);
    case FM_LEAKY_RELU:
        return z < 0 ? 0.01 * z : z;
    case FM_ELU:
        return z < 0 ? expm1(z) : z;
    case FM_SELU:
        return selu_scale * (z < 0 ? selu_alpha * expm1(z) : z);
    case FM_SOFTPLUS:
        return softplus(z);
    case FM_GELU:
        return z == -INFINITY ? 0 : z * normal_distribution(z);
    case FM_SILU:
        return z == -INFINITY ? 0 : z * sigmoid(z);
    case FM_MISH:
        return z == -INFINITY ? 0 : z * tanh(softplus(z));
    case FM_EXP:
        return exp(z);
    default:
        return z;
    }
}

double slope_at(fm_activation activation, double z)
{
    const double s = sigmoid(z), t = tanh(softplus(z));
    switch (activation) {
    case FM_ELU:
        return z > 0 ? 1 : exp(z);
    case FM_SELU:
        return selu_scale * (z > 0 ? 1 : selu_alpha * exp(z));
    case FM_SOFTPLUS:
        return s;
    case FM_GELU:
        return normal_distribution(z) + z * normal_density(z);
    case FM_SILU:
        return s * (1 + z * (1 - s));
    case FM_MISH:
        return t + z * (1 - t * t) * s;
    default:
        return slope_from(activation, activated(activation, z));
    }
}

double slope_from(fm_activation activation, double y)
{
    switch (activation) {
    case FM_RELU:
        return y > 0;
    case FM_SIGMOID:
        return y * (1 - y);
    case FM_TANH:
        return (1 - y) * (1 + y);
    case FM_LEAKY_RELU:
        return y > 0 ? 1 : 0.01;
    case FM_ELU:
        return y > 0 ? 1 : y + 1;
    case FM_SELU:
        return y > 0 ? selu_scale : y + selu_scale * selu_alpha;
    case FM_SOFTPLUS:
        return -expm1(-y);
    case FM_EXP:
        return y;
    default:
        return takes_z(activation) ? slope_at(activation, y) : 1;
    }
}

double activation_error(fm_activation activation, double z)
{
    const double magnitude = fabs(activated(activation, z));
    switch (activation) {
    case FM_IDENTITY:
    case FM_RELU:
        return tiny;
    case FM_LEAKY_RELU:
        return gamma_of(2) * magnitude + tiny;
    case FM_SIGMOID:
    case FM_TANH:
    case FM_ELU:
    case FM_EXP:
        return library * magnitude + tiny;
    default: /* of two functions */
        return 2 * library * magnitude + tiny;
    }
}

double slope_error(fm_activation activation, double y)
{
    const double slope = slope_from(activation, y);
    switch (activation) {
    case FM_IDENTITY:
    case FM_RELU:
        return 0;
    case FM_SIGMOID: /* 1 - y and two products */
        return gamma_of(3) * fabs(slope) + tiny;
    case FM_TANH: /* 1 - y, 1 + y and two products */
        return gamma_of(4) * fabs(slope) + tiny;
    case FM_LEAKY_RELU: /* the constant and a product */
    case FM_ELU:        /* a sum and a product */
        return gamma_of(2) * fabs(slope) + tiny;
    case FM_SELU: /* the constant, a sum and a product */
        return gamma_of(3) * (fabs(y) + selu_scale * selu_alpha) + tiny;
    case FM_SOFTPLUS:
        return (library + gamma_of(1)) * fabs(slope) + tiny;
    case FM_EXP:
        return gamma_of(1) * fabs(slope) + tiny;
    default: {
        /* A sum of f(z) / z, of two functions, and another term. */
        const double share = y == 0 ? slope : activated(activation, y) / y;
        return (2 * library + gamma_of(1)) * (fabs(share) + fabs(slope - share)) + tiny;
    }
    }
}

double steepest(fm_activation activation)
{
    return activation == FM_SIGMOID ? 0.25
           : activation == FM_SELU  ? selu_scale * selu_alpha
           : takes_z(activation)    ? 1.13
                                    : 1;
}
