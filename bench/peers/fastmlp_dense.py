"""fastmlp on sparse rows that were written out as a dense matrix, for comparison."""

from dataclasses import replace

from ..tasks import TrainingTask
from . import fastmlp_


class Trainer(fastmlp_.Trainer):
    """`fit` on the dense matrix."""

    def __init__(self, task: TrainingTask) -> None:
        super().__init__(replace(task, X=task.X.toarray()))
