"""A data set of stamps as experiments use it: arrays in one `.npz`, mapped from disk and never unpickled."""

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from train.files import write_arrays

SPLITS: Final = ("train", "validation", "test")
UNSTATED: Final = "unstated"
ORIGINS: Final = ("real", "simulated", UNSTATED)
OF_ARCHIVES: Final = ("candid", "jd", "fid", "lengths")
"""Arrays of a set that was made of archives."""
LOCAL_HEADER: Final = 30
"""Bytes of a zip member's local header before its name; the lengths of name and extra field are at 26 and 28."""

LIMIT: Final = 64.0
"""No pixel of a scaled stamp is larger. The seeds scale to [0, 1]; in units of its own deviation even a stamp of 63×63
pixels stays below. Counts of the camera, and 0 to 255, do not."""

Place = Callable[[int], str]
"""Row of an array → where that is, for people: file, split, row."""


class DatasetError(ValueError):
    """A data set that lacks something, or contradicts itself."""


@dataclass(frozen=True, slots=True)
class StampSet:
    """images: (N, H, W, C) or, for sequences, (N, T, H, W, C) float32. channels: their names, in order.

    labels: (N,) int64, places in `classes`. split: (N,) of train, validation, test. oid: (N,) object names, or empty
    where the source's cannot be matched to rows. features: (N, M) or, for sequences that have them, (N, T, M) floats,
    named by `feature_names`; M may be 0, and NaN is a value that was not there.
    origin: one of ORIGINS, the mark that the file itself bears.

    Sets made of archives have more; elsewhere these are empty. candid, jd, fid: (N,) or (N, T), of each alert.
    lengths: (N,), how many alerts of a sequence are there; what follows them is 0.
    """

    images: NDArray[np.float32]
    channels: tuple[str, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    split: NDArray[np.str_]
    oid: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, np.str_))
    features: NDArray[np.floating[Any]] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    feature_names: tuple[str, ...] = ()
    origin: str = UNSTATED
    candid: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    jd: NDArray[np.float64] = field(default_factory=lambda: np.empty(0, np.float64))
    fid: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    lengths: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        rows = len(self.images)
        if not self.images.size:
            raise DatasetError(f"images are {self.images.shape}: there is none")
        if self.images.ndim not in {4, 5} or self.images.shape[-1] != len(self.channels):
            raise DatasetError(f"images are {self.images.shape}; (N, H, W, {len(self.channels)}) is needed")
        for name in ("labels", "split"):
            if len(getattr(self, name)) != rows:
                raise DatasetError(f"{len(getattr(self, name))} {name} for {rows} images; one each is needed")
        strange = set(map(str, np.unique(self.split))) - set(SPLITS)
        if strange:
            raise DatasetError(f"split {', '.join(sorted(strange))} is none of {', '.join(SPLITS)}")
        if self.origin not in ORIGINS:
            raise DatasetError(f"origin {self.origin!r} is none of {', '.join(ORIGINS)}")
        class_places(self.labels, self.classes, self.place)
        if self.feature_names or self.features.size:
            check_features(self.features, self.feature_names, rows, self.place)

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, split: str) -> NDArray[np.int64]:
        return np.flatnonzero(self.split == split)

    def place(self, row: int) -> str:
        return f"{self.split[row]}, row {row}"

    def plane(self, channel: str) -> int:
        """Where `channel` stands on the last axis. Raises DatasetError naming what there is."""
        if channel not in self.channels:
            raise DatasetError(f"channel {channel!r} is not in this data set; it has {', '.join(self.channels)}")
        return self.channels.index(channel)

    @property
    def fingerprint(self) -> str:
        """Hash of images, labels, split and features: the same id, the same experiment's data."""
        digest = hashlib.sha256(repr((self.channels, self.classes, self.images.shape)).encode())
        for start in range(0, len(self), 4096):
            digest.update(np.ascontiguousarray(self.images[start : start + 4096]).tobytes())
        digest.update(self.labels.tobytes() + "".join(self.split).encode())
        if self.feature_names:
            digest.update(repr(self.feature_names).encode() + np.ascontiguousarray(self.features).tobytes())
        return digest.hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write an uncompressed `.npz`, whole or not at all."""
        try:
            write_arrays(path, self.arrays())
        except OSError as error:
            raise DatasetError(f"{path} cannot be written: {error.strerror}; is the disk full?") from error

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `save` writes, by name."""
        names = ["images", "labels", "split", "oid", "features"]
        names += [name for name in OF_ARCHIVES if getattr(self, name).size]
        texts = {name: np.array(getattr(self, name), np.str_) for name in ("channels", "classes", "feature_names")}
        return {name: getattr(self, name) for name in names} | texts | {"origin": np.array(self.origin)}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Map the images of `path` from disk and read the rest.

        Raises DatasetError naming what is missing, or the split and row of what is no label, pixel or feature.
        """
        check_exists(path)
        arrays = _mapped(path)
        missing = {"images", "labels", "split", "classes", "channels"} - set(arrays)
        if missing:
            raise DatasetError(f"{path} has no {', '.join(sorted(missing))}; it has {', '.join(sorted(arrays))}")
        try:
            found = cls(**_fields(arrays))
            check_images(found.images, found.place)
        except DatasetError as error:
            raise DatasetError(f"{path}: {error}") from error
        return found


@dataclass(frozen=True, slots=True)
class StampSource:
    """A run's data. name: of the file. fingerprint: of its content. origin: one of ORIGINS."""

    name: str
    fingerprint: str
    origin: str = UNSTATED


def source_of(path: Path, stamps: StampSet, origin: str | None) -> StampSource:
    """The source of a run's data; its origin is the file's own mark, or `origin` where the file bears none.

    Raises DatasetError where the two contradict each other.
    """
    if origin and stamps.origin not in {origin, UNSTATED}:
        raise DatasetError(f"--origin {origin}: {path} says itself that it is {stamps.origin}; leave --origin out")
    return StampSource(path.name, stamps.fingerprint, origin or stamps.origin)


def check_exists(path: Path) -> None:
    if not path.is_file():
        raise DatasetError(f"no such file: {path}")


def class_places(raw: NDArray[Any], classes: tuple[str, ...], place: Place) -> NDArray[np.int64]:
    """Labels (N,), numbers of any type or names of classes → places in `classes`. Raises DatasetError on any other."""
    if raw.dtype.kind in "OUS":
        names = {name.lower(): code for code, name in enumerate(classes)}
        texts = [label.decode() if isinstance(label, bytes) else str(label) for label in raw]
        for row, text in enumerate(texts):
            if text.lower() not in names:
                raise DatasetError(f"{place(row)}: label {text!r} is none of {', '.join(classes)}")
        return np.array([names[text.lower()] for text in texts], np.int64)
    if raw.dtype.kind not in "biuf":
        raise DatasetError(f"labels are {raw.dtype}; numbers or names of classes are needed")
    for wrong, worded in (
        (~np.isfinite(raw) | (raw != np.round(raw)), "not a whole number"),
        ((raw < 0) | (raw >= len(classes)), f"outside 0 to {len(classes) - 1} ({', '.join(classes)})"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DatasetError(f"{place(row)}: label {raw[row]} is {worded}, as {np.sum(wrong)} in all are")
    return raw.astype(np.int64)


def check_images(images: NDArray[Any], place: Place, chunk: int = 4096) -> None:
    """Raise DatasetError where pixels of images (N, …) are no numbers, or larger than any of a scaled stamp."""
    if images.dtype.kind not in "biuf":
        raise DatasetError(f"images are {images.dtype}; numbers are needed")
    parts = [images[start : start + chunk].reshape(-1, images[0].size) for start in range(0, len(images), chunk)]
    lowest, highest = (np.concatenate([many(part, axis=1) for part in parts]) for many in (np.min, np.max))
    wrong = ~(np.isfinite(lowest) & np.isfinite(highest))  # a NaN is the least and the most of its stamp
    if wrong.any():
        count = sum(int(np.sum(~np.isfinite(images[row]))) for row in np.flatnonzero(wrong))
        raise DatasetError(
            f"{place(int(np.argmax(wrong)))}: the first of {count} pixels that are NaN or infinite; fix the file"
        )
    large = np.maximum(np.abs(lowest), np.abs(highest)) > LIMIT
    if large.any():
        raise DatasetError(
            f"{place(int(np.argmax(large)))}: pixels go from {lowest.min():g} to {highest.max():g}, and those of "
            "scaled stamps from 0 to 1; scale each stamp by its own least and most, and save them again"
        )


def check_features(features: NDArray[Any], names: tuple[str, ...], rows: int, place: Place) -> None:
    """Raise DatasetError unless features are (rows, …, one a name) and finite, or NaN where there was nothing."""
    if features.ndim not in {2, 3} or len(features) != rows or features.shape[-1] != len(names):
        raise DatasetError(f"features are {features.shape}; ({rows}, {len(names)}) is needed")
    if features.dtype.kind not in "biuf":
        raise DatasetError(f"features are {features.dtype}; numbers are needed, NaN where there is none")
    wrong = np.argwhere(np.isinf(features))
    if len(wrong):
        raise DatasetError(
            f"{place(int(wrong[0][0]))}: feature {names[wrong[0][-1]]} is infinite, the first of {len(wrong)}; "
            "give NaN for a value that is not there"
        )


def _fields(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    texts = {name: tuple(map(str, arrays.get(name, ()))) for name in ("channels", "classes", "feature_names")}
    optional = {name: arrays[name] for name in ("oid", "features", *OF_ARCHIVES) if name in arrays}
    rows = {name: arrays[name].shape[:1] for name in ("images", "labels", "split")}
    if len(set(rows.values())) > 1:
        raise DatasetError(
            f"{', '.join(f'{name} {shape}' for name, shape in rows.items())}; as many of each are needed"
        )
    split = np.asarray(arrays["split"])
    if split.dtype.kind in "iu" and "split_names" in arrays:  # as `dataset build` wrote it at first
        names = np.asarray(arrays["split_names"])
        if split.min(initial=0) < 0 or split.max(initial=0) >= len(names):
            raise DatasetError(f"split has places {split.min()} to {split.max()} in {len(names)} names")
        split = names[split]
    labels = class_places(np.asarray(arrays["labels"]), texts["classes"], lambda row: f"{split[row]}, row {row}")
    origin = str(np.asarray(arrays.get("origin", UNSTATED)))
    return {"images": arrays["images"], "labels": labels, "split": split, "origin": origin} | texts | optional


def _mapped(path: Path) -> dict[str, NDArray[Any]]:
    """Every array of an `.npz` by name; those stored uncompressed are memory maps, read when touched."""
    try:
        with zipfile.ZipFile(path) as members:
            return {info.filename.removesuffix(".npy"): _member(path, members, info) for info in members.infolist()}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path} cannot be read as .npz: {error}; convert a pickle first") from error


def _member(path: Path, members: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with members.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(stream)
        if info.compress_type != zipfile.ZIP_STORED or dtype.hasobject or not np.prod(shape):
            stream.seek(0)
            return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
        offset = _data_start(path, info) + stream.tell()
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def _data_start(path: Path, info: zipfile.ZipInfo) -> int:
    with path.open("rb") as stream:
        stream.seek(info.header_offset)
        header = stream.read(LOCAL_HEADER)
    return info.header_offset + LOCAL_HEADER + sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
