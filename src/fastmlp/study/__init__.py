"""A study of losses under class imbalance: one digit, made rare, against the rest.

Networks with one sigmoid output are trained with cross-entropy, dice and focal losses on training
data in which the digit is thinned, and measured on test rows that are weighted to the same
imbalance. `fastmlp study losses` does the same from the command line.

>>> import fastmlp as fm
>>> settings = fm.study.Settings(data="digits", seeds=2, epochs=20)
>>> results = fm.study.run(settings, "fastmlp-study")  # doctest: +SKIP
>>> print(results.table(share=0.1))  # doctest: +SKIP

Needs scikit-learn, and matplotlib for `figures`: ``pip install 'fastmlp[study]'``.
"""

from .contenders import Contender
from .experiment import run
from .figures import curves_figure, figures, focal_figure, gamma_figure, scores_figure
from .results import Results, read
from .settings import Settings, SettingsError

__all__ = [
    "Contender",
    "Results",
    "Settings",
    "SettingsError",
    "curves_figure",
    "figures",
    "focal_figure",
    "gamma_figure",
    "read",
    "run",
    "scores_figure",
]
