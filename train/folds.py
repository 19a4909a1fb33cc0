"""Real sequences in folds by object, and which folds each choice may look at."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from train.alerts import Alerts

Held = tuple[int, ...]
"""The folds that a fit sees nothing of: one to be scored, two where the second is to choose by, none to serve."""


@dataclass(frozen=True, slots=True)
class Folds:
    """rows: (R,) int64, the real ones among all sequences. fold: (R,) int64, of each. count: of the folds."""

    rows: NDArray[np.int64]
    fold: NDArray[np.int64]
    count: int

    @classmethod
    def of(cls, alerts: Alerts, count: int, seed: int) -> Self:
        """Folds of like composition, all sequences of an object in one."""
        rows = np.flatnonzero(alerts.judged_real)
        objects, label = alerts.objects[rows], alerts.sequences.label.numpy()[rows]
        fold = np.zeros(len(rows), np.int64)
        parts = StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(objects, label, objects)
        for place, (_, out) in enumerate(parts):
            fold[out] = place
        return cls(rows, fold, count)

    def within(self, held: Held) -> NDArray[np.int64]:
        """Places of the sequences of these folds, among all sequences."""
        return self.rows[np.isin(self.fold, held)]

    def inner(self, outer: int) -> list[int]:
        """The folds that `outer` is chosen for by: its neighbours on the ring, so that two choices share a fit."""
        return sorted({(outer - 1) % self.count, (outer + 1) % self.count} - {outer})

    def pairs(self) -> Iterator[Held]:
        """Each pair of neighbours once."""
        yield from sorted({held(outer, inner) for outer in range(self.count) for inner in self.inner(outer)})


def held(outer: int, inner: int) -> Held:
    return (min(outer, inner), max(outer, inner))
