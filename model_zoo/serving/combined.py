"""The published class: an alert's own probabilities and those of its sequence as one answer. It imports no torch."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

SMALLEST: Final = float(np.finfo(np.float32).tiny)
"""Probabilities below it count as it: two heads that are sure of different classes still give an answer."""


def combined(
    alert: NDArray[np.float32], sequence: NDArray[np.float32], lengths: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Probabilities (N, classes) float32 from those of the alerts and of their sequences, of `lengths` (N,) alerts.

    An object's first alert has the alert's own: there the sequence knows no more, and does not see the metadata.
    Later both count alike: their geometric mean, scaled to a sum of 1 (a logarithmic opinion pool; Genest and Zidek
    1986). Products, roots and quotients of float64 are rounded alike on every processor, and the sum runs class by
    class, so that a row does not depend on the rows beside it.
    """
    roots = np.sqrt(np.maximum(alert, SMALLEST).astype(np.float64) * np.maximum(sequence, SMALLEST))  # (N, classes)
    total = np.zeros(len(roots))
    for column in roots.T:
        total += column
    pooled = (roots / total[:, None]).astype(np.float32)
    return np.where((lengths == 1)[:, None], alert, pooled)
