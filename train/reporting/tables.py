"""Tables that reports share."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from train.training.scores import per_class


def class_rows(
    label: NDArray[np.int64], probability: NDArray[np.float64], classes: Sequence[str], counted: str
) -> list[tuple[str, ...]]:
    """Precision, recall and F1 of each class in %, and how many `counted` it has; the first row is the head."""
    table = per_class(label, probability)
    rows = [
        (name, *(f"{100 * value:.1f}" for value in table[place, :3]), f"{table[place, 3]:.0f}")
        for place, name in enumerate(classes)
    ]
    return [("", "precision", "recall", "F1", counted), *rows]
