"""Reading and writing models."""

from .model_file import load_model, save_model

__all__ = ["load_model", "save_model"]
