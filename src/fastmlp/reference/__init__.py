"""The network and its operations in plain NumPy: the truth the C kernels are held to.

Same names and signatures as `fastmlp.MLP` and `fastmlp.ops`; made to be read.
"""

from . import ops
from .mlp import MLP

__all__ = ["MLP", "ops"]
