"""fastmlp's estimator with `dtype="float32"`, whatever the dtype of the rows."""

from typing import Any, ClassVar

from . import fastmlp_


class EstimatorFit(fastmlp_.EstimatorFit):
    """`fastmlp.sklearn` in float32."""

    extra: ClassVar[dict[str, Any]] = {"dtype": "float32"}
