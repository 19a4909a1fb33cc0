"""Archives of alerts → arrays to train on, read and cut by the very code that serves."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from consumer.archive.source import read_packets
from consumer.decoding.alert import Alert, read_alerts
from consumer.decoding.packet import PacketReader
from consumer.decoding.stamps import cut_stamps
from consumer.errors import ArchiveError, BadAlert
from model_zoo.metadata import COLUMNS, metadata_fields
from model_zoo.preprocess import STAMP_SIDE, Preprocessing

MAX_BYTES: Final = 1 << 26
"""Of a packet, and of a stamp inflated. Archives here were chosen by hand; the consumer's own limits guard a stream."""

UNLABELLED: Final = -1
FIELDS: Final = metadata_fields(COLUMNS)


@dataclass(frozen=True, slots=True)
class AlertTable:
    """N alerts, in (jd, candid) order.

    stamps: (N, 3, size, size) float32, raw, NaN where there is nothing. jd: (N,) float64 days. band: (N,) int64.
    candid: (N,) int64. object_id, key: (N,) str. label: (N,) int64, place in the classes, -1 for none.
    metadata: (N, F) float64, the fields that the reader was asked for, by default FIELDS; NaN where null or absent.
    """

    stamps: NDArray[np.float32]
    jd: NDArray[np.float64]
    band: NDArray[np.int64]
    candid: NDArray[np.int64]
    object_id: NDArray[np.str_]
    key: NDArray[np.str_]
    label: NDArray[np.int64]
    metadata: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.jd)

    def only(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Self:
        return type(self)(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @property
    def labelled(self) -> NDArray[np.bool_]:
        return np.not_equal(self.label, UNLABELLED)

    @property
    def first_of_object(self) -> NDArray[np.bool_]:
        """Whether an alert is the first of its objectId here."""
        _, first = np.unique(self.object_id, return_index=True)
        return np.isin(np.arange(len(self)), first)


def joined(parts: Sequence[AlertTable]) -> AlertTable:
    """Several tables as one, in (jd, candid) order."""
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in AlertTable.__dataclass_fields__)
    whole = AlertTable(*columns)
    return whole.only(np.lexsort((whole.candid, whole.jd)))


@dataclass(frozen=True, slots=True)
class Example:
    """One alert, decoded once: its fields, its cut stamps (C, size, size) float32, and the bytes of its packet.

    Stamps are raw, NaN where there is nothing. `alert.metadata` holds the fields that the reader was asked for.
    """

    alert: Alert
    pixels: NDArray[np.float32]
    packet_bytes: int


def read_examples(
    archives: Sequence[Path], preprocessing: Preprocessing, reader: PacketReader
) -> Iterator[Example | BadAlert]:
    """Every alert of the archives, or why it cannot be used. Raises ArchiveError for a path that cannot be read."""
    for payload in read_packets(archives):
        for alert in read_alerts(payload, MAX_BYTES, reader):
            yield _example(alert, preprocessing, len(payload))


def _example(alert: Alert | BadAlert, preprocessing: Preprocessing, packet_bytes: int) -> Example | BadAlert:
    if isinstance(alert, BadAlert):
        return alert
    try:
        return Example(alert, cut_stamps(alert, preprocessing, MAX_BYTES).pixels, packet_bytes)
    except BadAlert as bad:
        return bad


def read_alert_table(
    archives: Sequence[Path], labels: Mapping[int, int], size: int = STAMP_SIDE
) -> tuple[AlertTable, dict[str, int]]:
    """Every alert that can be classified, once a candid, cut to `size`, and how many could not be, by reason.

    Raises ValueError naming an archive that cannot be read, or where no alert can be.
    """
    refused, kept = Counter[str](), dict[int, Example]()
    try:
        for outcome in read_examples(archives, Preprocessing(size=size), PacketReader(FIELDS)):
            if isinstance(outcome, BadAlert):
                refused[outcome.reason] += 1
            else:
                kept.setdefault(outcome.alert.candid, outcome)
    except ArchiveError as error:
        raise ValueError(str(error)) from error
    if not kept:
        found = dict(refused) or "they are empty"
        raise ValueError(f"no alert can be read from {', '.join(map(str, archives))}: {found}")
    return table_of(kept.values(), labels), dict(refused)


def table_of(examples: Iterable[Example], labels: Mapping[int, int]) -> AlertTable:
    """The table of some alerts, in (jd, candid) order. labels: candid → place in the classes."""
    rows = sorted(examples, key=lambda example: (example.alert.jd, example.alert.candid))
    alerts = [example.alert for example in rows]
    return AlertTable(
        stamps=np.stack([example.pixels for example in rows]),
        jd=np.array([alert.jd for alert in alerts], np.float64),
        band=np.array([alert.fid for alert in alerts], np.int64),
        candid=np.array([alert.candid for alert in alerts], np.int64),
        object_id=np.array([alert.object_id for alert in alerts]),
        key=np.array([alert.sequence_key for alert in alerts]),
        label=np.array([labels.get(alert.candid, UNLABELLED) for alert in alerts], np.int64),
        metadata=np.array([alert.metadata for alert in alerts], np.float64),
    )
