"""A data set of stamps as experiments use it: arrays in one `.npz`, mapped from disk and never unpickled."""

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

SPLITS: Final = ("train", "validation", "test")
UNSTATED: Final = "unstated"
ORIGINS: Final = ("real", "simulated", UNSTATED)
LOCAL_HEADER: Final = 30
"""Bytes of a zip member's local header before its name; the lengths of name and extra field are at 26 and 28."""


class DatasetError(ValueError):
    """A data set that lacks something, or contradicts itself."""


@dataclass(frozen=True, slots=True)
class StampSet:
    """images: (N, H, W, C) or, for sequences, (N, T, H, W, C) float32. channels: their names, in order.

    labels: (N,) int64, places in `classes`. split: (N,) of train, validation, test. oid: (N,) object names, or empty
    where the source's cannot be matched to rows. features: (N, M) float32, named by `feature_names`; M may be 0.
    origin: one of ORIGINS, the mark that the file itself bears.
    """

    images: NDArray[np.float32]
    channels: tuple[str, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    split: NDArray[np.str_]
    oid: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, np.str_))
    features: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    feature_names: tuple[str, ...] = ()
    origin: str = UNSTATED

    def __post_init__(self) -> None:
        rows = len(self.images)
        if self.images.ndim not in {4, 5} or self.images.shape[-1] != len(self.channels):
            raise DatasetError(f"images are {self.images.shape}; (N, H, W, {len(self.channels)}) is needed")
        for name in ("labels", "split"):
            if len(getattr(self, name)) != rows:
                raise DatasetError(f"{len(getattr(self, name))} {name} for {rows} images; one each is needed")
        wrong = np.flatnonzero((self.labels < 0) | (self.labels >= len(self.classes)))
        if len(wrong):
            raise DatasetError(f"label {self.labels[wrong[0]]} of row {wrong[0]} is outside {', '.join(self.classes)}")
        strange = set(np.unique(self.split)) - set(SPLITS)
        if strange:
            raise DatasetError(f"split {sorted(strange)} is none of {', '.join(SPLITS)}")
        if self.origin not in ORIGINS:
            raise DatasetError(f"origin {self.origin!r} is none of {', '.join(ORIGINS)}")

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, split: str) -> NDArray[np.int64]:
        return np.flatnonzero(self.split == split)

    def plane(self, channel: str) -> int:
        """Where `channel` stands on the last axis. Raises DatasetError naming what there is."""
        if channel not in self.channels:
            raise DatasetError(f"channel {channel!r} is not in this data set; it has {', '.join(self.channels)}")
        return self.channels.index(channel)

    @property
    def fingerprint(self) -> str:
        """Hash of images, labels and split: the same id, the same experiment's data."""
        digest = hashlib.sha256(repr((self.channels, self.classes, self.images.shape)).encode())
        for start in range(0, len(self), 4096):
            digest.update(np.ascontiguousarray(self.images[start : start + 4096]).tobytes())
        digest.update(self.labels.tobytes() + "".join(self.split).encode())
        return digest.hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write an uncompressed `.npz`, whole or not at all."""
        partial = path.with_name(path.name + ".partial")
        try:
            with partial.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **self.arrays())
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise DatasetError(f"{path} cannot be written: {error}; is the disk full?") from error
        partial.replace(path)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `save` writes, by name."""
        names = ("images", "labels", "split", "oid", "features")
        texts = {name: np.array(getattr(self, name), np.str_) for name in ("channels", "classes", "feature_names")}
        return {name: getattr(self, name) for name in names} | texts | {"origin": np.array(self.origin)}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Map the images of `path` from disk and read the rest. Raises DatasetError naming a missing array."""
        arrays = _mapped(path)
        missing = {"images", "labels", "split", "classes", "channels"} - set(arrays)
        if missing:
            raise DatasetError(f"{path} has no {', '.join(sorted(missing))}; it has {', '.join(sorted(arrays))}")
        return cls(**_fields(arrays))


def _fields(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    texts = {name: tuple(map(str, arrays.get(name, ()))) for name in ("channels", "classes", "feature_names")}
    optional = {name: arrays[name] for name in ("oid", "features") if name in arrays}
    labels, split = np.asarray(arrays["labels"]).astype(np.int64), np.asarray(arrays["split"])
    if split.dtype.kind in "iu" and "split_names" in arrays:
        split = np.asarray(arrays["split_names"])[split]
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
