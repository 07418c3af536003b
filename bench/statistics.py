"""Medians, their uncertainty, and ratios."""

import math
from collections.abc import Sequence
from statistics import median

MAD_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

MEDIAN_TO_MEAN_ERROR = 1.2533
"""Standard error of a normal sample's median over that of its mean, sqrt(pi / 2)."""

NOISE_FLOOR = 0.03
"""Relative differences below this are never called real: medians of two runs of the same
program differ as much by the placement of memory alone."""


def noise(values: Sequence[float]) -> float:
    """Return the relative standard error of the median, estimated from the median deviation."""
    middle = median(values)
    deviation = median(abs(value - middle) for value in values)
    return MEDIAN_TO_MEAN_ERROR * MAD_TO_SIGMA * deviation / (math.sqrt(len(values)) * middle)


def margin(old_noise: float, new_noise: float) -> float:
    """Return the relative difference of two medians that noise explains: two standard errors."""
    return max(NOISE_FLOOR, 2 * math.hypot(old_noise, new_noise))


def geometric_mean(ratios: Sequence[float]) -> float:
    """Return the geometric mean of positive numbers."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))
