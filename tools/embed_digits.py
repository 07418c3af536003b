"""Write the digits embedded in fastmlp.data, from the installed scikit-learn."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TARGET = Path(__file__).parents[1] / "src" / "fastmlp" / "data" / "digits.npz"

X, y = load_digits(return_X_y=True)
np.savez_compressed(TARGET, X=X.astype(np.uint8), y=y.astype(np.uint8))
print(f"{TARGET.name}: {len(X):,} digits, {TARGET.stat().st_size:,} bytes")
