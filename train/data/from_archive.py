"""Data sets from archived alerts and a table of labels, through the decode and the preprocessing that serve."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from consumer.decoding.container import open_blocks, read_header
from consumer.decoding.layout import Body, layout, read_record
from consumer.decoding.packet import PacketFields, PacketReader, fields_of
from consumer.errors import BadAlert, Reason
from model_zoo.classes import CLASSES
from model_zoo.coordinates import ecliptic, galactic
from model_zoo.metadata import column_values, metadata_fields
from model_zoo.preprocess import Preprocessing, normalise
from train.data.alert_table import AlertTable, Example, read_examples
from train.data.pickle_layouts import FEATURES
from train.data.stamp_set import SPLITS, UNSTATED, StampSet

SHARES: Final = (0.7, 0.15, 0.15)
PADDED: Final = ("images", "candid", "jd", "fid", "features")
"""Columns of a set of sequences that have a value for each of an object's alerts."""

SERVED: Final = ("ecl_lat", "gal_lat", "non_detections")
"""Columns that the served models have too, and make in one place."""

SIGNS: Final = {"t": 1.0, "1": 1.0, "f": -1.0, "0": -1.0}
"""How a packet says whether the difference is positive."""


@dataclass(frozen=True, slots=True)
class ArchiveCounts:
    """What went into a data set: alerts read, kept, repeated, without a label, and refused by reason."""

    read: int
    kept: int
    repeated: int
    unlabelled: int
    refused: dict[str, int]


class FeatureReader(PacketReader):
    """Reads each record whole, by fastavro, and gives ALeRCE's 26 columns as its metadata.

    The consumer's own reading leaves most of these fields unread. Raises BadAlert as that does.
    """

    def read(self, payload: bytes) -> Iterator[PacketFields]:
        header = read_header(payload)
        known = layout(header.schema)
        whole, body = replace(known, reader=known.writer), Body()
        for block in open_blocks(payload, header):
            body.data, body.position = block.data, 0
            for _ in range(block.count):
                record = read_record(body, whole)
                columns = tuple(feature_values(record["candidate"]).tolist())
                yield fields_of(record, known.version)._replace(metadata=columns)
            if body.position != len(block.data):
                raise BadAlert(Reason.CORRUPT, f"block at byte {block.start} has bytes left over after its last record")


def feature_values(candidate: dict[str, Any]) -> NDArray[np.float64]:
    """ALeRCE's 26 columns of one candidate, (26,), NaN for what a packet does not have."""
    found = {name: np.nan if value is None else value for name, value in candidate.items()}
    fields = np.array([[found.get(name, np.nan) for name in metadata_fields(SERVED)]], np.float64)
    found |= zip(SERVED, column_values(fields, SERVED)[0], strict=True)
    ra, dec = np.array([[found.get(name, np.nan)] for name in ("ra", "dec")], np.float64)
    found |= {"ecl_long": ecliptic(ra, dec)[0].item(), "gal_long": galactic(ra, dec)[0].item()}
    found["isdiffpos"] = SIGNS.get(candidate.get("isdiffpos", ""), np.nan)
    return np.array([found.get(name, np.nan) for name in FEATURES], np.float64)


def collect(
    archives: Sequence[Path], labels: Mapping[int, int], preprocessing: Preprocessing
) -> tuple[list[Example], ArchiveCounts]:
    """The labelled alerts, once a candid, their features as metadata, and what became of the others.

    Raises ValueError where no alert has a label.
    """
    found: dict[int, Example] = {}
    counts, refused = Counter[str](), Counter[str]()
    for outcome in read_examples(archives, preprocessing, FeatureReader()):
        counts["read"] += 1
        if isinstance(outcome, BadAlert):
            refused[outcome.reason] += 1
        elif outcome.alert.candid not in labels:
            counts["unlabelled"] += 1
        elif found.setdefault(outcome.alert.candid, outcome) is not outcome:
            counts["repeated"] += 1
    if not found:
        raise ValueError(
            f"none of the {counts['read']} alerts read has a label: do archives and labels belong together?"
        )
    report = ArchiveCounts(counts["read"], len(found), counts["repeated"], counts["unlabelled"], dict(refused))
    return list(found.values()), report


def split_by_object(keys: NDArray[np.str_], labels: NDArray[np.int64], seed: int) -> NDArray[np.str_]:
    """The split of each alert, (N,): all alerts of an object together, objects of each class shared 70/15/15."""
    rng = np.random.default_rng(seed)
    names, first, member = np.unique(keys, return_index=True, return_inverse=True)
    of_object = np.empty(len(names), np.int64)
    for code in np.unique(labels[first]):
        objects = rng.permutation(np.flatnonzero(labels[first] == code))
        bounds = np.round(np.cumsum(SHARES) * len(objects)).astype(int)
        for place, part in enumerate(np.split(objects, bounds[:-1])):
            of_object[part] = place
    return np.array(SPLITS)[of_object[member]]


def alert_set(table: AlertTable, preprocessing: Preprocessing, seed: int, origin: str = UNSTATED) -> StampSet:
    """A data set of labelled alerts, whose metadata are features: images (N, size, size, C) float32 in [0, 1]."""
    images = np.ascontiguousarray(normalise(table.stamps).transpose(0, 2, 3, 1))
    return StampSet(
        images=images,
        channels=preprocessing.channels,
        labels=table.label,
        classes=CLASSES,
        split=split_by_object(table.key, table.label, seed),
        oid=table.key,
        features=table.metadata,
        feature_names=FEATURES,
        origin=origin,
        candid=table.candid,
        jd=table.jd,
        fid=table.band,
    )


def sequence_set(
    table: AlertTable, preprocessing: Preprocessing, seed: int, longest: int, origin: str = UNSTATED
) -> StampSet:
    """The same by object: (M, longest, …) with zeros past each object's `lengths`; its `longest` first alerts."""
    alerts = alert_set(table, preprocessing, seed, origin)
    names, first = np.unique(alerts.oid, return_index=True)
    rows = [np.flatnonzero(alerts.oid == name)[:longest] for name in names]
    padded: dict[str, Any] = {name: _padded(getattr(alerts, name), rows, longest) for name in PADDED}
    lengths = np.array([len(row) for row in rows], np.int64)
    return replace(alerts, oid=names, labels=alerts.labels[first], split=alerts.split[first], lengths=lengths, **padded)


def _padded(column: NDArray[Any], rows: Sequence[NDArray[np.int64]], longest: int) -> NDArray[Any]:
    padded = np.zeros((len(rows), longest, *column.shape[1:]), column.dtype)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = column[row]
    return padded
