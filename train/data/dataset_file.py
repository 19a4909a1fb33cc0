"""The data set file: a plain .npz without pickles, written whole or not at all, and a description of what it holds."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from train.files import atomic_write

Arrays = dict[str, NDArray[Any]]
REQUIRED = ("images", "labels", "classes", "channels", "split", "split_names", "oid", "candid", "jd", "fid")
SHOWN_A_CLASS = 6


@dataclass(frozen=True, slots=True)
class Summary:
    """arrays: name, shape, type, range of each. classes: alerts or objects of each class by split."""

    arrays: list[tuple[str, str, str, str]]
    splits: list[str]
    classes: dict[str, list[int]]
    objects: int
    repeats: int
    leaks: int


def save(arrays: Arrays, path: Path) -> None:
    """Write the arrays to `path` by way of a file beside it."""
    with atomic_write(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # arrays by name


def is_built(path: Path) -> bool:
    """Whether `path` is to be read here: every .npz but one that was converted from a pickle, which has no candids."""
    if path.suffix != ".npz":
        return False
    if not zipfile.is_zipfile(path):
        return True
    with zipfile.ZipFile(path) as members:
        names = members.namelist()
    return "candid.npy" in names or "feature_names.npy" not in names


def load(path: Path) -> Arrays:
    """Read a data set. Raises ValueError for a file that is none, naming what is missing; runs no pickle."""
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise ValueError(f"{path} is no data set of plain arrays ({error}): pickles are not read here") from error
    if missing := [name for name in REQUIRED if name not in arrays]:
        raise ValueError(f"{path} lacks {', '.join(missing)}: it was not written by `estampa-train dataset build`")
    return arrays


def _range(array: NDArray[Any]) -> str:
    if array.dtype.kind not in "fi" or not array.size:
        return ""
    finite = array[np.isfinite(array)]
    return f"{finite.min():g} … {finite.max():g}" if finite.size else "no finite value"


def describe(arrays: Arrays) -> Summary:
    """What a data set holds; `repeats` counts images equal to another, `leaks` objects that lie in two splits."""
    labels, split = arrays["labels"], arrays["split"]
    names = [str(name) for name in arrays["split_names"]]
    classes = {
        str(name): [int(np.sum((labels == code) & (split == place))) for place in range(len(names))]
        for code, name in enumerate(arrays["classes"])
    }
    images = arrays["images"].reshape(len(labels), -1)
    pairs = np.unique(np.stack([np.unique(arrays["oid"], return_inverse=True)[1], split]), axis=1)
    objects = len(np.unique(arrays["oid"]))
    return Summary(
        arrays=[(name, str(array.shape), str(array.dtype), _range(array)) for name, array in arrays.items()],
        splits=names,
        classes=classes,
        objects=objects,
        repeats=len(images) - len(np.unique(images, axis=0)),
        leaks=pairs.shape[1] - objects,
    )


def draw_page(arrays: Arrays, path: Path) -> None:
    """A PNG of a few stamps of each class, a row a class, channels side by side."""
    images = arrays["images"][:, 0] if arrays["images"].ndim == 5 else arrays["images"]
    codes = [code for code in range(len(arrays["classes"])) if (arrays["labels"] == code).any()]
    figure = Figure(figsize=(3 * SHOWN_A_CLASS, 1.2 * len(codes)))  # no pyplot: it would ask for a window system
    axes = figure.subplots(len(codes), SHOWN_A_CLASS, squeeze=False)
    for row, code in zip(axes, codes, strict=True):
        chosen = np.flatnonzero(arrays["labels"] == code)[:SHOWN_A_CLASS]
        for axis in row:
            axis.set_axis_off()
        for axis, alert in zip(row, chosen, strict=False):
            axis.imshow(np.concatenate(list(np.moveaxis(images[alert], -1, 0)), axis=1), cmap="gray", origin="lower")
        row[0].set_title(f"{arrays['classes'][code]}: {', '.join(arrays['channels'])}", fontsize=8, loc="left")
    figure.tight_layout()
    figure.savefig(path, dpi=90)
