"""A stamp set as if its stamps had come in alerts: what a served model learns from, beside archives or alone.

Such a set has lost what an alert says beside its pixels: no time, no band, no metadata, and no brightness, for its
stamps were scaled to [0, 1].
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.classes import CLASSES
from model_zoo.preprocess import CHANNELS
from train.data.alert_table import FIELDS, AlertTable
from train.data.stamp_set import DatasetError, StampSet

EPOCH: Final = 2_451_545.0
"""Of the first row. Each row is a day later, so that rows stay in order; days between rows mean nothing."""
STEP: Final = 1 / 1440
"""Days between the stamps of a sequence: their order is known and no more, so it is made as short as no visit is."""
UNKNOWN_BAND: Final = 0
HOLDOUT: Final = ("validation", "test")


@dataclass(frozen=True, slots=True)
class StampAlerts:
    """train: of the set's train rows, once each distinct image. holdout: its validation and test, row by row, if any.

    repeats: train rows equal to another.
    """

    train: AlertTable
    holdout: dict[str, AlertTable]
    repeats: int


def alerts_from_stamps(stamps: StampSet, size: int) -> StampAlerts:
    """Planes in the order that serves, cut to the middle `size` pixels; classes by their names.

    A row is one object's: named by `oid` where rows have one, else by its content, so that a row that was written
    several times to balance the classes is one object. Its stamps, in order, are a sequence. Raises DatasetError where
    a plane, a class or pixels are missing.
    """
    side = stamps.images.shape[-2]
    if side < size:
        raise DatasetError(f"the stamps are {side} pixels wide; {size} are needed: give --set size={side}")
    learnt = stamps.rows("train")
    if not len(learnt):
        raise DatasetError("this data set has no row in train: there is nothing to learn from")
    contents, fingerprint = _contents(stamps), stamps.fingerprint
    keys = np.array([f"{fingerprint} {row}" for row in range(len(stamps))])
    _, first = np.unique(contents[learnt], return_index=True)
    kept = learnt[np.sort(first)]
    rows = {split: stamps.rows(split) for split in HOLDOUT}
    return StampAlerts(
        train=_observed(stamps, kept, contents, keys, size),
        holdout={split: _observed(stamps, some, contents, keys, size) for split, some in rows.items() if len(some)},
        repeats=len(learnt) - len(kept),
    )


def _observed(
    stamps: StampSet, rows: NDArray[np.int64], contents: NDArray[np.int64], keys: NDArray[np.str_], size: int
) -> AlertTable:
    length = stamps.images.shape[1] if stamps.images.ndim == 5 else 1
    start = (stamps.images.shape[-2] - size) // 2
    window = slice(start, start + size)
    planes = [stamps.plane(channel) for channel in CHANNELS]
    cut = np.moveaxis(stamps.images[..., window, window, :][rows][..., planes], -1, -3)
    position = np.tile(np.arange(length), len(rows))
    row = rows.repeat(length)
    count = len(row)
    whole = AlertTable(
        stamps=np.ascontiguousarray(cut.reshape(count, len(CHANNELS), size, size), np.float32),
        jd=EPOCH + row + position * STEP,
        band=np.full(count, UNKNOWN_BAND, np.int64),
        candid=contents[row] + position,
        object_id=_objects(stamps, rows, contents).repeat(length),
        key=keys[row],
        label=_places(stamps)[stamps.labels[row]],
        metadata=np.full((count, len(FIELDS)), np.nan),
    )
    return whole.only(whole.stamps.any(axis=(1, 2, 3)) | (position == 0))  # a short sequence is filled up with nothing


def _objects(stamps: StampSet, rows: NDArray[np.int64], contents: NDArray[np.int64]) -> NDArray[np.str_]:
    by_content = np.char.add("content ", contents[rows].astype(np.str_))
    if len(stamps.oid) != len(stamps):  # as in the seeds' files: they cannot be matched
        return by_content
    named = stamps.oid[rows].astype(np.str_)
    return np.where(named == "", by_content, named)


def _contents(stamps: StampSet) -> NDArray[np.int64]:
    """(N,): a hash of each row's pixels, 62 bits."""
    digests = (hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=8).digest() for row in stamps.images)
    return (np.frombuffer(b"".join(digests), np.uint64) >> 2).astype(np.int64)


def _places(stamps: StampSet) -> NDArray[np.int64]:
    """(classes,): where each class of the set stands among those that are served."""
    known = {name.lower(): place for place, name in enumerate(CLASSES)}
    strange = [name for name in stamps.classes if name.lower() not in known]
    if strange:
        raise DatasetError(f"class {strange[0]!r} of this data set is none of {', '.join(CLASSES)}")
    return np.array([known[name.lower()] for name in stamps.classes], np.int64)
