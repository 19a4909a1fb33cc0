"""Data sets from archived alerts and a table of labels, through the decode and the preprocessing that serve."""

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import fastavro
import numpy as np
from numpy.typing import NDArray

from consumer.archive.source import read_packets
from consumer.decoding.alert import Alert, read_alerts
from consumer.decoding.layout import MALFORMED
from consumer.decoding.stamps import cut_stamps
from consumer.errors import BadAlert
from model_zoo.classes import CLASSES
from model_zoo.coordinates import ecliptic, galactic
from model_zoo.metadata import column_values, metadata_fields
from model_zoo.preprocess import Preprocessing, normalise
from train.data.pickle_layouts import FEATURES

MAX_BYTES: Final = 1 << 26
"""Of a packet, and of a stamp inflated: a data set is made of archives chosen by hand."""

SPLITS: Final = ("train", "validation", "test")
SHARES: Final = (0.7, 0.15, 0.15)
SERVED: Final = ("ecl_lat", "gal_lat", "non_detections")
"""Columns that the served models have too, and make in one place."""

SIGNS: Final = {"t": 1.0, "1": 1.0, "f": -1.0, "0": -1.0}
"""How a packet says whether the difference is positive."""


@dataclass(frozen=True, slots=True)
class Example:
    """One alert: its fields, its raw cut (C, size, size) with NaN where there is nothing, its features, its bytes."""

    alert: Alert
    pixels: NDArray[np.float32]
    features: NDArray[np.float64]
    packet_bytes: int


@dataclass(frozen=True, slots=True)
class ArchiveCounts:
    """What went into a data set: alerts read, kept, repeated, without a label, and refused by reason."""

    read: int
    kept: int
    repeated: int
    unlabelled: int
    refused: dict[str, int]


def read_examples(archives: Sequence[Path], preprocessing: Preprocessing) -> Iterator[Example | BadAlert]:
    """Every alert of the archives, or why it is none. Raises ArchiveError for a path that cannot be read."""
    for payload in read_packets(archives):
        yield from _examples(payload, preprocessing)


def _examples(payload: bytes, preprocessing: Preprocessing) -> Iterator[Example | BadAlert]:
    outcomes = list(read_alerts(payload, MAX_BYTES))
    candidates = _candidates(payload) if any(isinstance(outcome, Alert) for outcome in outcomes) else {}
    for outcome in outcomes:
        if isinstance(outcome, BadAlert):
            yield outcome
            continue
        try:
            pixels = cut_stamps(outcome, preprocessing, MAX_BYTES).pixels
        except BadAlert as bad:
            yield bad
            continue
        yield Example(outcome, pixels, feature_values(candidates[outcome.candid]), len(payload))


def _candidates(payload: bytes) -> dict[int, dict[str, Any]]:
    """Whole candidates by candid, up to where the container is damaged: `read_alerts` has said that.

    The consumer's own reading leaves most fields unread.
    """
    found: dict[int, dict[str, Any]] = {}
    try:
        for record in cast("Iterable[Any]", fastavro.reader(io.BytesIO(payload))):
            found[record["candid"]] = record["candidate"]
    except MALFORMED:
        return found
    return found


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
    archives: Sequence[Path], labels: dict[int, int], preprocessing: Preprocessing
) -> tuple[list[Example], ArchiveCounts]:
    """The labelled alerts, once a candid, in (jd, candid) order, and what became of the others.

    Raises ValueError where no alert has a label.
    """
    found: dict[int, Example] = {}
    counts, refused = Counter[str](), Counter[str]()
    for outcome in read_examples(archives, preprocessing):
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
    examples = sorted(found.values(), key=lambda example: (example.alert.jd, example.alert.candid))
    return examples, ArchiveCounts(
        counts["read"], len(examples), counts["repeated"], counts["unlabelled"], dict(refused)
    )


def split_by_object(keys: Sequence[str], labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Place in SPLITS of each alert, (N,): all alerts of an object together, objects of each class shared 70/15/15."""
    rng = np.random.default_rng(seed)
    names, first, member = np.unique(np.asarray(keys), return_index=True, return_inverse=True)
    of_object = np.empty(len(names), np.int64)
    for code in np.unique(labels[first]):
        objects = rng.permutation(np.flatnonzero(labels[first] == code))
        bounds = np.round(np.cumsum(SHARES) * len(objects)).astype(int)
        for place, part in enumerate(np.split(objects, bounds[:-1])):
            of_object[part] = place
    return of_object[member]


def _columns(examples: Sequence[Example], labels: dict[int, int]) -> dict[str, NDArray[Any]]:
    alerts = [example.alert for example in examples]
    return {
        "labels": np.array([labels[alert.candid] for alert in alerts], np.int64),
        "oid": np.array([alert.sequence_key for alert in alerts]),
        "candid": np.array([alert.candid for alert in alerts], np.int64),
        "jd": np.array([alert.jd for alert in alerts], np.float64),
        "fid": np.array([alert.fid for alert in alerts], np.int64),
        "features": np.stack([example.features for example in examples]),
    }


def _header(preprocessing: Preprocessing) -> dict[str, NDArray[Any]]:
    return {
        "classes": np.array(CLASSES),
        "channels": np.array(preprocessing.channels),
        "split_names": np.array(SPLITS),
        "feature_names": np.array(FEATURES),
    }


def alert_set(
    examples: Sequence[Example], labels: dict[int, int], preprocessing: Preprocessing, seed: int
) -> dict[str, NDArray[Any]]:
    """Arrays of a data set of alerts: images (N, size, size, C) float32 in [0, 1], labels, split, oid, candid, …"""
    columns = _columns(examples, labels)
    images = normalise(np.stack([example.pixels for example in examples])).transpose(0, 2, 3, 1)
    split = split_by_object(columns["oid"].tolist(), columns["labels"], seed)
    return _header(preprocessing) | columns | {"images": np.ascontiguousarray(images), "split": split}


def sequence_set(
    examples: Sequence[Example], labels: dict[int, int], preprocessing: Preprocessing, seed: int, longest: int
) -> dict[str, NDArray[Any]]:
    """The same by object: (M, longest, …) with zeros past each object's `lengths`; its `longest` first alerts."""
    alerts = alert_set(examples, labels, preprocessing, seed)
    names, first = np.unique(alerts["oid"], return_index=True)
    rows = [np.flatnonzero(alerts["oid"] == name)[:longest] for name in names]
    lengths = np.array([len(row) for row in rows], np.int64)
    out = {name: alerts[name] for name in ("classes", "channels", "split_names", "feature_names")}
    for name in ("images", "candid", "jd", "fid", "features"):
        padded = np.zeros((len(names), longest, *alerts[name].shape[1:]), alerts[name].dtype)
        for place, row in enumerate(rows):
            padded[place, : len(row)] = alerts[name][row]
        out[name] = padded
    return out | {"oid": names, "lengths": lengths, "labels": alerts["labels"][first], "split": alerts["split"][first]}
