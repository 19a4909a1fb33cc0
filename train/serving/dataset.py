"""What a served model learns from: real alerts and simulated skies as one table, and how often each is drawn."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from model_zoo.classes import CLASSES
from model_zoo.preprocess import Preprocessing, encoder_input
from train.data.alert_table import AlertTable, joined
from train.experiments.experiment import ExperimentError


@dataclass(frozen=True, slots=True)
class Sequences:
    """rows: (S, T) int64, places of the alerts in the table, padded on the right with 0. lengths: (S,) int64.

    label: (S,) int64. weight: (S,) float64, 1 over the number of sequences of the same object.
    jd: (S, T) float64 days. band: (S, T) int64. A sequence has the label of its last valid row.
    """

    rows: torch.Tensor
    lengths: torch.Tensor
    label: torch.Tensor
    weight: torch.Tensor
    jd: torch.Tensor
    band: torch.Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    def only(self, which: torch.Tensor) -> "Sequences":
        return Sequences(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    @property
    def last_rows(self) -> torch.Tensor:
        """(S,) int64: the row of the alert that each sequence ends in."""
        return self.rows[torch.arange(len(self)), self.lengths - 1]


def prefixes(alerts: AlertTable, *, longest: int = 128, days: float = 365.0) -> Sequences:
    """One sequence for every labelled alert: itself and up to `longest` - 1 before it, none older than `days`.

    Keys, order by (jd, candid) and both bounds are those of `consumer.store.sequences`.
    """
    _, key, counts = np.unique(alerts.key, return_inverse=True, return_counts=True)
    order = np.lexsort((alerts.candid, alerts.jd, key))
    found: list[NDArray[np.int64]] = []
    for members in np.split(order, np.cumsum(counts)[:-1]):
        found += [members[max(end - longest, 0) : end] for end in range(1, len(members) + 1)]
    found = [rows[alerts.jd[rows] >= alerts.jd[rows[-1]] - days] for rows in found if alerts.labelled[rows[-1]]]
    return _padded(found, alerts)


def _padded(found: list[NDArray[np.int64]], alerts: AlertTable) -> Sequences:
    lengths = np.array([len(rows) for rows in found])
    rows = np.zeros((len(found), lengths.max()), np.int64)
    for place, one in enumerate(found):
        rows[place, : len(one)] = one
    last = np.array([one[-1] for one in found])
    _, key, repeats = np.unique(alerts.key[last], return_inverse=True, return_counts=True)
    return Sequences(
        rows=torch.from_numpy(rows),
        lengths=torch.from_numpy(lengths),
        label=torch.from_numpy(alerts.label[last]),
        weight=torch.from_numpy(1 / repeats[key]),
        jd=torch.from_numpy(alerts.jd[rows]),
        band=torch.from_numpy(alerts.band[rows]),
    )


SIMULATED: Final = "simulated "


@dataclass(frozen=True, slots=True)
class ServingDataset:
    """table: real and simulated. simulated: (N,) whether each is. inputs: (N, C, S, S) of the encoder."""

    table: AlertTable
    simulated: NDArray[np.bool_]
    inputs: torch.Tensor
    sequences: Sequences

    @property
    def ends_in_real(self) -> NDArray[np.bool_]:
        """(S,): whether a sequence ends in a real alert."""
        real: NDArray[np.bool_] = ~self.simulated[self.sequences.last_rows.numpy()]
        return real

    @property
    def objects(self) -> NDArray[np.str_]:
        """(S,): the object of each sequence."""
        names: NDArray[np.str_] = self.table.object_id[self.sequences.last_rows.numpy()]
        return names

    @property
    def groups(self) -> NDArray[np.int64]:
        """(N,): equal for alerts of one objectId or one history: a moving object has a name wherever it was seen."""
        names, name = np.unique(self.table.object_id, return_inverse=True)
        keys, key = np.unique(self.table.key, return_inverse=True)
        shape = (len(names) + len(keys),) * 2
        links = coo_array((np.ones(len(name), np.int8), (name, len(names) + key)), shape)
        groups: NDArray[np.int64] = connected_components(links, directed=False)[1][name].astype(np.int64)
        return groups

    def without(self, sequences: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(N,): the alerts that share neither name nor history with these sequences, be it through others."""
        groups = self.groups
        return np.isin(groups, groups[self.sequences.last_rows.numpy()[sequences]], invert=True)

    def fingerprint(self, kept: NDArray[np.bool_] | None = None) -> str:
        """Of the candids and labels of all alerts, or of those that are `kept` (N,)."""
        content = np.stack([self.table.candid, self.table.label])
        return hashlib.sha256((content if kept is None else content[:, kept]).tobytes()).hexdigest()[:16]

    def seen(self, preprocessing: Preprocessing) -> Self:
        """The same alerts, their stamps prepared in another way."""
        return replace(self, inputs=torch.from_numpy(encoder_input(self.table.stamps, preprocessing)))


def build_dataset(real: AlertTable, simulated: Sequence[AlertTable], preprocessing: Preprocessing) -> ServingDataset:
    """Real alerts and simulated skies as one. Objects of a simulated sky are marked, so that none can meet."""
    table = joined([real, *(marked(sky, f"{SIMULATED}{place} ") for place, sky in enumerate(simulated))])
    return ServingDataset(
        table=table,
        simulated=np.char.startswith(table.object_id, SIMULATED),
        inputs=torch.from_numpy(encoder_input(table.stamps, preprocessing)),
        sequences=prefixes(table),
    )


def balanced(label: torch.Tensor, weight: torch.Tensor, power: float = 1.0) -> torch.Tensor:
    """`weight` (N,) times 1 / (its class's sum) ** power, scaled to a mean of 1: power 1 makes classes count alike."""
    total = torch.zeros(int(label.max()) + 1, dtype=weight.dtype).index_add_(0, label, weight)
    scaled = weight / total[label] ** power
    return scaled / scaled.mean()


def weights(alerts: ServingDataset, rows: NDArray[np.int64], simulated: float, balance: float) -> torch.Tensor:
    """(len(rows),) float32: alerts of one object share its weight, classes are balanced, simulation is held down.

    simulated: the share of simulated alerts in what is drawn. balance: the power of `balanced`.
    """
    real = ~alerts.simulated[rows]
    label = torch.from_numpy(alerts.table.label[rows])
    _, inverse, repeats = np.unique(alerts.table.object_id[rows], return_inverse=True, return_counts=True)
    share = torch.from_numpy(1 / repeats[inverse])
    weight = torch.zeros(len(rows), dtype=torch.float64)
    for kind, part in ((real, 1 - simulated), (~real, simulated)):
        if kind.any():
            weight[kind] = balanced(label[kind], share[kind], balance) * part / kind.sum()
    return (weight / weight.mean()).float()


def marked(sky: AlertTable, mark: str) -> AlertTable:
    """`sky` with `mark` before its objects' names, so that none is taken for another sky's of the same name."""
    columns = {name: getattr(sky, name) for name in AlertTable.__dataclass_fields__}
    return AlertTable(**(columns | {name: np.char.add(mark, columns[name]) for name in ("object_id", "key")}))


Held = tuple[int, ...]
"""The folds that a fit sees nothing of: one to be scored, two where the second is to choose by, none to serve."""


@dataclass(frozen=True, slots=True)
class Folds:
    """rows: (R,) int64, the real ones among all sequences. fold: (R,) int64, of each. count: of the folds."""

    rows: NDArray[np.int64]
    fold: NDArray[np.int64]
    count: int

    @classmethod
    def of(cls, alerts: ServingDataset, count: int, seed: int) -> Self:
        """Folds of like composition, all sequences of an object in one. Raises ExperimentError on too few objects."""
        rows = np.flatnonzero(alerts.ends_in_real)
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
        raise ExperimentError(f"all labelled alerts are of {classes[0]}; two classes at least are needed")
    most = max(len(np.unique(objects[label == one])) for one in np.unique(label))
    if most < count:
        raise ExperimentError(
            f"no class has an object for each of {count} folds, {most} at most; give more labelled alerts, or fewer "
            "folds with --set folds=…"
        )


def held(outer: int, inner: int) -> Held:
    return (min(outer, inner), max(outer, inner))
