"""The five layouts of the seeds' pickles → one StampSet. What each file leaves out is said here."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.taxonomy import CLASSES
from train.pickles import read_pickle
from train.stamp_set import UNSTATED, DatasetError, StampSet

SPLIT_NAMES: Final = {"Train": "train", "Validation": "validation", "Test": "test"}
LARGE_CLASSES: Final = ("AGN", "SN", "VS")
SEQUENCE_CHANNELS: Final = ("science", "template", "difference")
FEATURES: Final = (
    "sgscore1",
    "distpsnr1",
    "sgscore2",
    "distpsnr2",
    "sgscore3",
    "distpsnr3",
    "isdiffpos",
    "fwhm",
    "magpsf",
    "sigmapsf",
    "ra",
    "dec",
    "diffmaglim",
    "rb",
    "distnr",
    "magnr",
    "classtar",
    "ndethist",
    "ncovhist",
    "ecl_lat",
    "ecl_long",
    "gal_lat",
    "gal_long",
    "non_detections",
    "chinr",
    "sharpnr",
)


@dataclass(frozen=True, slots=True)
class Layout:
    """channels: order of the last axis. side: of the images, pixels. length: stamps of an object.

    Where there are several they lie channel by channel, with one template for all.
    """

    channels: tuple[str, ...]
    side: int
    classes: tuple[str, ...] = CLASSES
    length: int = 1

    @property
    def sequence(self) -> bool:
        return self.length > 1


LAYOUTS: Final = {
    "stamp_dataset_21_new": Layout(("difference", "science", "template"), 21),
    "stamp_dataset_28": Layout(("difference", "science", "template"), 28),
    "td_ztf_stamp_17_06_20": Layout(("science", "template", "difference"), 63),
    "5stamps_dataset": Layout(SEQUENCE_CHANNELS, 21, LARGE_CLASSES, length=5),
    "recurrent_dataset": Layout(SEQUENCE_CHANNELS, 27, LARGE_CLASSES, length=3),
}


def read_layout(path: Path, layout: str | None = None, channels: tuple[str, ...] | None = None) -> StampSet:
    """Read a pickle of one of LAYOUTS, by default the one whose name begins the file's.

    `channels` overrides the layout's order. Raises DatasetError where the file does not have the layout, or where its
    difference is not the channel that it should be.
    """
    name = layout or _layout_of(path)
    if name not in LAYOUTS:
        raise DatasetError(f"no layout is called {name!r}; give one of {', '.join(LAYOUTS)}")
    known = LAYOUTS[name]
    content = read_pickle(path)
    if not isinstance(content, Mapping):
        raise DatasetError(f"{path} holds a {type(content).__name__}; a dictionary is needed")
    parts = _splits(content, path)
    read = _sequences if known.sequence else _images
    wheres = [f"{path}: {name}" for name in parts]
    planes = [read(part, known, where) for part, where in zip(parts.values(), wheres, strict=True)]
    lengths = [len(part[0]) for part in planes]
    labels = [
        _labels(part, known, where, rows) for part, where, rows in zip(parts.values(), wheres, lengths, strict=True)
    ]
    whole = "All" in parts
    split = np.repeat([SPLIT_NAMES.get(name, "train") for name in parts], lengths)
    found = StampSet(
        images=_joined(planes, wheres),
        channels=channels or known.channels,
        labels=np.concatenate(labels),
        classes=known.classes,
        split=_split_by_template(parts["All"]) if whole else split,
        features=_features(parts, lengths),
        feature_names=FEATURES if all("features" in part for part in parts.values()) else (),
        oid=_object_ids(parts, lengths),
        origin=str(content.get("origin", UNSTATED)),
    )
    check_difference(found, path)
    return found


def check_difference(stamps: StampSet, path: Path, sample: int = 2000) -> None:
    """The difference is the channel least correlated with the other two; raises DatasetError where another one is."""
    if set(stamps.channels) != set(SEQUENCE_CHANNELS):
        return
    rows = np.linspace(0, len(stamps) - 1, min(sample, len(stamps))).astype(np.int64)
    pixels = np.asarray(stamps.images[rows]).reshape(-1, 3)
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    alike = np.abs(np.corrcoef(pixels.T)) - np.eye(3)
    least = stamps.channels[int(np.argmin(alike.sum(axis=0)))]
    if least != "difference":
        raise DatasetError(
            f"{path}: the channel least like the others is the one called {least}, so the order "
            f"{', '.join(stamps.channels)} is wrong; give --channels in the file's order"
        )


def _split_by_template(part: Mapping[str, Any]) -> NDArray[np.str_]:
    """Four fifths train, a tenth each validation and test, for a file without a split.

    Its rows have no names; the template is the object's, so rows of one template go together.
    """
    digests = [hashlib.sha256(np.ascontiguousarray(one).tobytes()).digest()[0] for one in np.asarray(part["template"])]
    return np.select([np.array(digests) < 26, np.array(digests) < 52], ["validation", "test"], "train")


def _layout_of(path: Path) -> str:
    for name in LAYOUTS:
        if path.name.startswith(name):
            return name
    raise DatasetError(f"the layout of {path.name} is not known from its name; give one of {', '.join(LAYOUTS)}")


def _splits(content: Mapping[str, Any], path: Path) -> dict[str, Mapping[str, Any]]:
    found = {name: content[name] for name in SPLIT_NAMES if isinstance(content.get(name), Mapping)}
    if found:
        return found
    if "labels" in content:
        return {"All": content}
    raise DatasetError(f"{path} has the keys {sorted(map(str, content))}; Train, Validation and Test are needed")


def _images(part: Mapping[str, Any], layout: Layout, where: str) -> list[NDArray[Any]]:
    """The channels, each (N, S, S), as views of what the file holds."""
    images = np.asarray(_key(part, where, "images"))
    wanted = (layout.side, layout.side, len(layout.channels))
    if images.ndim != 4 or images.shape[1:] != wanted:
        raise DatasetError(f"{where}: images are {images.shape}; (N, {', '.join(map(str, wanted))}) is needed")
    return list(np.moveaxis(images, -1, 0))


def _sequences(part: Mapping[str, Any], layout: Layout, where: str) -> list[NDArray[Any]]:
    """The channels, each (N, T, S, S), the one template repeated along T, as views of what the file holds."""
    science, difference = (np.asarray(_key(part, where, name)) for name in ("science", "difference"))
    template = np.asarray(_key(part, where, "template"))
    if science.ndim != 4 or science.shape != difference.shape or template.shape != science[:, 0].shape:
        shapes = f"science {science.shape}, difference {difference.shape}, template {template.shape}"
        raise DatasetError(f"{where}: {shapes}; (N, T, {layout.side}, {layout.side}) twice and one template are needed")
    return [science, np.broadcast_to(template[:, None], science.shape), difference]


def _joined(planes: Sequence[Sequence[NDArray[Any]]], wheres: Sequence[str]) -> NDArray[np.float32]:
    """The parts one after another, channels last: the only copy, for a full-size file fills gigabytes."""
    lengths, first = [len(part[0]) for part in planes], planes[0]
    whole = np.empty((sum(lengths), *first[0].shape[1:], len(first)), np.float32)
    for rows, part, where in zip(np.split(whole, np.cumsum(lengths)[:-1]), planes, wheres, strict=True):
        for place, plane in enumerate(part):
            rows[..., place] = plane
        _check_finite(rows, where)
    return whole


def _labels(part: Mapping[str, Any], layout: Layout, where: str, rows: int) -> NDArray[np.int64]:
    raw = np.asarray(_key(part, where, "class", "labels"))
    if raw.shape != (rows,):
        raise DatasetError(f"{where}: labels are {raw.shape}; ({rows},) is needed")
    if raw.dtype.kind in "OUS":
        return np.array([_class_place(label, layout, where) for label in raw], np.int64)
    whole = raw.astype(np.int64)
    if not np.array_equal(whole, raw):
        raise DatasetError(f"{where}: label {raw[np.flatnonzero(whole != raw)[0]]} is not a whole number")
    return whole


def _class_place(label: Any, layout: Layout, where: str) -> int:
    text = label.decode() if isinstance(label, bytes) else str(label)
    places = {name.lower(): place for place, name in enumerate(layout.classes)}
    if text.lower() not in places:
        raise DatasetError(f"{where}: label {text!r} is none of {', '.join(layout.classes)}")
    return places[text.lower()]


def _key(part: Mapping[str, Any], where: str, *names: str) -> Any:
    for name in names:
        if name in part:
            return part[name]
    raise DatasetError(f"{where} has no {' or '.join(names)}; its keys are {', '.join(sorted(map(str, part)))}")


def _check_finite(images: NDArray[np.float32], where: str, chunk: int = 4096) -> None:
    bad = np.concatenate([_bad_pixels(images[start : start + chunk]) for start in range(0, len(images), chunk)])
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DatasetError(f"{where}: {bad.sum()} pixels are NaN or infinite, the first in row {row}; mend the file")


def _bad_pixels(images: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N,): how many of each stamp are no number."""
    return np.asarray((~np.isfinite(images)).reshape(len(images), -1).sum(axis=1), np.int64)


def _features(parts: Mapping[str, Mapping[str, Any]], lengths: list[int]) -> NDArray[np.float32]:
    if not all("features" in part for part in parts.values()):
        return np.empty((sum(lengths), 0), np.float32)
    return np.concatenate([np.asarray(part["features"]).astype(np.float32) for part in parts.values()])


def _object_ids(parts: Mapping[str, Mapping[str, Any]], lengths: list[int]) -> NDArray[np.str_]:
    """Names of the objects, row by row; a split whose `oid` has another length gets none, for it cannot be zipped."""
    columns = [
        np.asarray(part["oid"]).astype(np.str_) if "oid" in part and len(part["oid"]) == rows else np.full(rows, "")
        for part, rows in zip(parts.values(), lengths, strict=True)
    ]
    return np.concatenate(columns)
