"""The digits embedded in the package.

1,797 handwritten digits of 8 x 8 pixels, values 0 to 16, as scikit-learn's `load_digits` has them:
the test part of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak (1998),
UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, licensed CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/). Unchanged but for the file format.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from .dataset import Dataset, hold_out

_LARGEST = 16


def load_digits() -> Dataset:
    """Load the embedded digits.

    Returns
    -------
    Dataset
        X float32 (n, 64) in 0..1, that is the pixels over 16; y int64 (n,), the digits. Every
        fifth sample, index 4 modulo 5, is in the test part: 1,438 and 359 samples.
    """
    with (files(__package__) / "digits.npz").open("rb") as stream, np.load(stream) as arrays:
        X, y = arrays["X"], arrays["y"]
    return hold_out(X.astype(np.float32) / np.float32(_LARGEST), y.astype(np.int64), "digits")
