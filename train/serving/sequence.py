"""Sequences for the recurrent head: each alert with those of its object that came before, as the consumer judges it."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from train.data.alert_table import AlertTable

LENGTHS: Final = (1, 2, 3, 5, 10)
"""Numbers of alerts after which a sequence is scored."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """rows: (S, T) int64, places of the alerts in the table, padded on the right with 0. lengths: (S,) int64.

    label: (S,) int64. weight: (S,) float64, 1 over the number of sequences of the same object.
    jd: (S, T) float64 days. band: (S, T) int64. The last valid row of sequence i is the alert it judges.
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
    def judged(self) -> torch.Tensor:
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
