"""Networks from other libraries, and for them. Each is imported when it is first needed."""

from .pytorch import from_torch
from .scikit_learn import from_sklearn

__all__ = ["from_sklearn", "from_torch"]
