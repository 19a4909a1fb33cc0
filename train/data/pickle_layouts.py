"""The five layouts of the seeds' pickles → one StampSet. What each file leaves out is said here.

Whether stamps have their channels in the order that is said of them is told by what a source does in each.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.classes import CLASSES
from train.data.safe_pickle import read_pickle
from train.data.stamp_set import (
    UNSTATED,
    DatasetError,
    StampSet,
    check_exists,
    check_features,
    check_images,
    class_places,
)

LASTING: Final = ("AGN", "VS")
"""Classes whose source stands in the template too."""
NEW: Final = "SN"
"""Class whose source does not."""
COMPARED: Final = 2000
CLEARLY: Final = 4.0
"""Standard errors by which the stamps must speak for another order before a file is refused."""


def check_channels(
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    channels: tuple[str, ...],
    where: str,
) -> None:
    """Raises DatasetError where images (N, …) clearly have another order of channels than they are said to have.

    Of a source that lasts, the difference is the channel least like the other two. Of a new one the template is, and
    the difference is more like the science image. A few stamps that speak against it are no proof: CLEARLY is.
    """
    lasting = _alike(images, np.isin(labels, [classes.index(name) for name in LASTING]))
    new = _alike(images, labels == classes.index(NEW))
    science, template, difference = (channels.index(name) for name in ("science", "template", "difference"))
    least = int(np.argmin(lasting.sum(axis=(0, 2))))
    found = ""
    if _clearly(lasting[:, difference].sum(axis=1) - lasting[:, least].sum(axis=1)):
        found = f"the channel least like the others is the one called {channels[least]}"
    elif _clearly(new[:, difference, template] - new[:, difference, science]):
        found = "what is new is in the channel called template"
    if found:
        order = ", ".join(channels)
        raise DatasetError(f"{where}: {found}, so the order {order} is wrong; give --channels in the file's order")


def _alike(images: NDArray[np.float32], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n, 3, 3): size of the correlation between the channels of each chosen stamp, the first of a sequence."""
    some = images[np.flatnonzero(chosen)[:COMPARED]]
    first = some[:, 0] if some.ndim == 5 else some
    pixels = first.astype(np.float64).reshape(len(first), math.prod(first.shape[1:3]), first.shape[3])
    pixels -= pixels.mean(axis=1, keepdims=True)
    length = np.sqrt(np.square(pixels).sum(axis=1, keepdims=True))
    pixels = (pixels / np.where(length > 0, length, 1))[(length > 0).all(axis=(1, 2))]
    return np.asarray(np.abs(np.einsum("npa,npb->nab", pixels, pixels)))


def _clearly(margin: NDArray[np.float64]) -> bool:
    """Whether values (n,) are above 0 on average, and not by chance."""
    return len(margin) > 1 and bool(margin.mean() > CLEARLY * margin.std(ddof=1) / np.sqrt(len(margin)))


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
class PickleLayout:
    """channels: order of the last axis. side: of the images, pixels. length: stamps of an object.

    Where there are several they lie channel by channel, with one template for all. split: whether the file has Train,
    Validation and Test.
    """

    channels: tuple[str, ...]
    side: int
    classes: tuple[str, ...] = CLASSES
    length: int = 1
    split: bool = True

    @property
    def sequence(self) -> bool:
        return self.length > 1


PICKLE_LAYOUTS: Final = {
    "stamp_dataset_21_new": PickleLayout(("difference", "science", "template"), 21),
    "stamp_dataset_28": PickleLayout(("difference", "science", "template"), 28),
    "td_ztf_stamp_17_06_20": PickleLayout(("science", "template", "difference"), 63),
    "5stamps_dataset": PickleLayout(SEQUENCE_CHANNELS, 21, LARGE_CLASSES, length=5),
    "recurrent_dataset": PickleLayout(SEQUENCE_CHANNELS, 27, LARGE_CLASSES, length=3, split=False),
}


@dataclass(frozen=True, slots=True)
class _Part:
    """One split of a file. planes: the channels, each (N, …, S, S). place: of its rows, for errors."""

    content: Mapping[str, Any]
    planes: list[NDArray[Any]]
    where: str

    def __len__(self) -> int:
        return len(self.planes[0])

    def place(self, row: int) -> str:
        return f"{self.where}, row {row}"


def read_layout(path: Path, layout: str | None = None, channels: tuple[str, ...] | None = None) -> StampSet:
    """Read a pickle of one of PICKLE_LAYOUTS, by default the one that its arrays have.

    `channels` overrides the layout's order. Raises DatasetError where the file does not have the layout, or a split has
    another order of channels.
    """
    check_exists(path)
    if layout and layout not in PICKLE_LAYOUTS:
        raise DatasetError(f"no layout is called {layout!r}; give one of {', '.join(PICKLE_LAYOUTS)}")
    content = read_pickle(path)
    if not isinstance(content, Mapping):
        raise DatasetError(f"{path} holds a {type(content).__name__}; a dictionary is needed")
    known = PICKLE_LAYOUTS[layout or _layout_of(content, path)]
    order = channels or known.channels
    if sorted(order) != sorted(known.channels):
        raise DatasetError(f"--channels is {', '.join(order)}; {', '.join(known.channels)} are needed, in any order")
    parts = {name: _part(part, known, f"{path}: {name}") for name, part in _splits(content, known, path).items()}
    labels = [_labels(part, known) for part in parts.values()]
    images = _joined(list(parts.values()))
    lengths = [len(part) for part in parts.values()]
    for part, rows, label in zip(parts.values(), np.split(images, np.cumsum(lengths)[:-1]), labels, strict=True):
        check_channels(rows, label, known.classes, order, part.where)
    named = all("features" in part.content for part in parts.values())
    return StampSet(
        images=images,
        channels=order,
        labels=np.concatenate(labels),
        classes=known.classes,
        split=_split_by_template(parts["All"].content)
        if "All" in parts
        else np.repeat([SPLIT_NAMES[name] for name in parts], lengths),
        features=np.concatenate([_features(part) for part in parts.values()])
        if named
        else np.empty((len(images), 0), np.float32),
        feature_names=FEATURES if named else (),
        oid=np.concatenate([_object_ids(part) for part in parts.values()]),
        origin=str(content.get("origin", UNSTATED)),
    )


def _split_by_template(part: Mapping[str, Any]) -> NDArray[np.str_]:
    """Four fifths train, a tenth each validation and test, for a file without a split.

    Its rows have no names; the template is the object's, so rows of one template go together.
    """
    digests = [hashlib.sha256(np.ascontiguousarray(one).tobytes()).digest()[0] for one in np.asarray(part["template"])]
    return np.select([np.array(digests) < 26, np.array(digests) < 52], ["validation", "test"], "train")


def _layout_of(content: Mapping[str, Any], path: Path) -> str:
    """The layout whose keys and sides of stamps the file has; where none fits, the one that its name promises."""
    split = all(isinstance(content.get(name), Mapping) for name in SPLIT_NAMES)
    part = content["Train"] if split else content
    for name, layout in PICKLE_LAYOUTS.items():
        shape: tuple[int, ...] = getattr(part.get("science" if layout.sequence else "images"), "shape", ())
        if layout.split == split and len(shape) == 4 and shape[2] == layout.side:
            return name
    for name in PICKLE_LAYOUTS:
        if path.name.startswith(name):
            return name
    raise DatasetError(
        f"{path} has no layout that is known, and its name begins with none; `estampa-train convert` takes it with "
        f"--layout, give one of {', '.join(PICKLE_LAYOUTS)}"
    )


def _splits(content: Mapping[str, Any], layout: PickleLayout, path: Path) -> dict[str, Mapping[str, Any]]:
    missing = [name for name in SPLIT_NAMES if not isinstance(content.get(name), Mapping)]
    if not missing:
        return {name: content[name] for name in SPLIT_NAMES}
    if not layout.split:
        return {"All": content}
    raise DatasetError(
        f"{path} has no {' and no '.join(missing)}; its keys are {', '.join(sorted(map(str, content)))}, and "
        f"{', '.join(SPLIT_NAMES)} are needed, each a dictionary"
    )


def _part(content: Mapping[str, Any], layout: PickleLayout, where: str) -> _Part:
    planes = (_sequences if layout.sequence else _images)(content, layout, where)
    if not planes[0].size:
        raise DatasetError(f"{where} is empty; give it some stamps of each class")
    return _Part(content, planes, where)


def _images(part: Mapping[str, Any], layout: PickleLayout, where: str) -> list[NDArray[Any]]:
    """The channels, each (N, S, S), as views of what the file holds."""
    images = _numbers(part, where, "images")
    wanted = (layout.side, layout.side, len(layout.channels))
    if images.ndim != 4 or images.shape[1:] != wanted:
        raise DatasetError(f"{where}: images are {images.shape}; (N, {', '.join(map(str, wanted))}) is needed")
    return list(np.moveaxis(images, -1, 0))


def _sequences(part: Mapping[str, Any], layout: PickleLayout, where: str) -> list[NDArray[Any]]:
    """The channels, each (N, T, S, S), the one template repeated along T, as views of what the file holds."""
    science, difference, template = (_numbers(part, where, name) for name in ("science", "difference", "template"))
    fits = science.ndim == 4 and science.shape[2:] == (layout.side, layout.side) and science.shape == difference.shape
    if not fits or template.shape != (len(science), layout.side, layout.side):
        shapes = f"science {science.shape}, difference {difference.shape}, template {template.shape}"
        raise DatasetError(f"{where}: {shapes}; (N, T, {layout.side}, {layout.side}) twice and one template are needed")
    return [science, np.broadcast_to(template[:, None], science.shape), difference]


def _joined(parts: Sequence[_Part]) -> NDArray[np.float32]:
    """The parts one after another, channels last: the only copy, for a full-size file fills gigabytes."""
    lengths, first = [len(part) for part in parts], parts[0].planes
    whole = np.empty((sum(lengths), *first[0].shape[1:], len(first)), np.float32)
    for rows, part in zip(np.split(whole, np.cumsum(lengths)[:-1]), parts, strict=True):
        if part.planes[0].shape[1:] != first[0].shape[1:]:
            raise DatasetError(f"{part.where}: stamps are {part.planes[0].shape[1:]}, and {first[0].shape[1:]} before")
        for place, plane in enumerate(part.planes):
            rows[..., place] = plane
        check_images(rows, part.place)
    return whole


def _labels(part: _Part, layout: PickleLayout) -> NDArray[np.int64]:
    raw = np.asarray(_key(part.content, part.where, "class", "labels"))
    if raw.shape != (len(part),):
        raise DatasetError(f"{part.where}: labels are {raw.shape}; ({len(part)},) is needed")
    return class_places(raw, layout.classes, part.place)


def _numbers(part: Mapping[str, Any], where: str, name: str) -> NDArray[Any]:
    found = np.asarray(_key(part, where, name))
    if found.dtype.kind not in "biuf":
        raise DatasetError(f"{where}: {name} is an array of {found.dtype}; numbers are needed")
    return found


def _key(part: Mapping[str, Any], where: str, *names: str) -> Any:
    for name in names:
        if name in part:
            return part[name]
    raise DatasetError(f"{where} has no {' or '.join(names)}; its keys are {', '.join(sorted(map(str, part)))}")


def _features(part: _Part) -> NDArray[np.float32]:
    raw = np.asarray(part.content["features"])
    if raw.shape != (len(part), len(FEATURES)):
        raise DatasetError(f"{part.where}: features are {raw.shape}; ({len(part)}, {len(FEATURES)}) is needed")
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as that
            found = raw.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{part.where}: features are no numbers: {error}") from error
    check_features(found, FEATURES, len(part), part.place)
    return found


def _object_ids(part: _Part) -> NDArray[np.str_]:
    """Names of the objects, row by row; a split whose `oid` has another length gets none, for it cannot be zipped."""
    names = np.asarray(part.content.get("oid", ()))
    return names.astype(np.str_) if names.shape == (len(part),) else np.full(len(part), "")


def load_stamps(path: Path) -> StampSet:
    """A data set from .npz, or straight from a pickle."""
    return StampSet.load(path) if path.suffix == ".npz" else read_layout(path)
