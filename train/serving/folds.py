"""Real sequences in folds by object, and which folds each choice may look at."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from model_zoo.classes import CLASSES
from train.experiments.experiment import ExperimentError
from train.serving.dataset import Alerts

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
        """Folds of like composition, all sequences of an object in one. Raises ExperimentError on too few objects."""
        rows = np.flatnonzero(alerts.judged_real)
        objects, label = alerts.objects[rows], alerts.sequences.label.numpy()[rows]
        _check(objects, label, count)
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


def _check(objects: NDArray[np.str_], label: NDArray[np.int64], count: int) -> None:
    classes = [CLASSES[one] for one in np.unique(label)]
    if len(classes) < 2:
        raise ExperimentError(f"all labelled alerts to judge are of {classes[0]}; two classes at least are needed")
    most = max(len(np.unique(objects[label == one])) for one in np.unique(label))
    if most < count:
        raise ExperimentError(
            f"no class has an object for each of {count} folds, {most} at most; give more labelled alerts, or fewer "
            "folds with --set folds=…"
        )


def held(outer: int, inner: int) -> Held:
    return (min(outer, inner), max(outer, inner))
