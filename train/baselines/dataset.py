"""A stamp set as a fit needs it: three splits of tensors on the device that trains."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from train.data.stamp_set import SPLITS, DatasetError, StampSet
from train.experiments.experiment import (
    AlerceExperiment,
    BaselineExperiment,
    ClassificationExperiment,
    SequenceExperiment,
)
from train.training.augment import COPIES

CLIPS: Final = {
    "sgscore1": (-1.0, None),
    "sgscore2": (-1.0, None),
    "sgscore3": (-1.0, None),
    "distpsnr1": (-1.0, None),
    "distpsnr2": (-1.0, None),
    "distpsnr3": (-1.0, None),
    "fwhm": (None, 10.0),
    "ndethist": (None, 20.0),
    "ncovhist": (None, 3000.0),
    "chinr": (-1.0, 15.0),
    "sharpnr": (-1.0, 1.5),
    "non_detections": (None, 2000.0),
    "distnr": (-1.0, None),
    "magnr": (-1.0, None),
}
"""ALeRCE's bounds of the metadata columns."""

LEFT_OUT: Final = ("rb", "distnr", "magnr")
"""ALeRCE's classifier takes 23 of the 26 columns: not these."""


@dataclass(frozen=True, slots=True)
class Split:
    """stamps: (N, C, S, S) or (N, T, C, S, S) float32. label: (N,) int64. metadata: (N, M) float32, M may be 0.

    group: (N,), equal for stamps of one object; None where each is another's.
    """

    stamps: torch.Tensor
    label: torch.Tensor
    metadata: torch.Tensor
    group: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def true(self) -> NDArray[np.int64]:
        return self.label.cpu().numpy()


@dataclass(frozen=True, slots=True)
class SplitTensors:
    """classes: names in label order. channels: names of the planes, in order."""

    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    channels: tuple[str, ...]

    def split(self, name: str) -> Split:
        found: Split = getattr(self, name)
        return found


def prepare(stamps: StampSet, experiment: BaselineExperiment, device: torch.device) -> SplitTensors:
    """Choose the channels, cut the middle `size` pixels and put everything on `device`.

    A model of single stamps takes each stamp of a sequence as an example of its own.

    Raises DatasetError where a channel, a split, a class in a split, the metadata or enough pixels are missing.
    """
    planes = [stamps.plane(channel) for channel in experiment.channels]
    side = stamps.images.shape[-2]
    if side < experiment.size:
        raise DatasetError(f"the stamps are {side} pixels wide; {experiment.name} takes {experiment.size}")
    if isinstance(experiment, SequenceExperiment) and stamps.images.ndim != 5:
        raise DatasetError(f"images are {stamps.images.shape}; {experiment.name} is made for {experiment.layout}")
    columned = isinstance(experiment, AlerceExperiment) and experiment.metadata
    metadata = _metadata(stamps) if columned else np.empty((len(stamps), 0), np.float32)
    start = (side - experiment.size) // 2
    window = slice(start, start + experiment.size)
    parts, group = {}, _groups(stamps)
    for name in SPLITS:
        rows = _rows(stamps, name)
        if name == "train" and experiment.rows:
            rows = _balanced_subset(rows, stamps.labels[rows], experiment.rows)
        cut = np.moveaxis(stamps.images[rows][..., window, window, :][..., planes], -1, -3)
        columns, repeats = metadata[rows], 1
        if cut.ndim == 5 and not isinstance(experiment, SequenceExperiment):
            repeats, cut = cut.shape[1], cut.reshape(-1, *cut.shape[2:])
            single = columns.ndim == 3  # each stamp of a sequence has its own
            columns = columns.reshape(-1, columns.shape[-1]) if single else columns.repeat(repeats, axis=0)
        parts[name] = Split(
            torch.from_numpy(np.ascontiguousarray(cut, dtype=np.float32)).to(device),
            torch.from_numpy(stamps.labels[rows].repeat(repeats)).to(device),
            torch.from_numpy(columns).to(device),
            group[rows].repeat(repeats),
        )
    label = parts["train"].label
    balanced = isinstance(experiment, ClassificationExperiment) and experiment.balanced
    drawn = len(balanced_rows(label, len(stamps.classes))) if balanced else len(label)
    examples = drawn * COPIES[experiment.augmentation]
    if columned and (examples - 1) % experiment.batch_size == 0:
        raise DatasetError(
            f"batches of {experiment.batch_size} leave one of {examples} examples alone, and columns are normalised "
            "over a batch; give another --set batch_size"
        )
    return SplitTensors(**parts, classes=stamps.classes, channels=experiment.channels)


def class_weights(label: torch.Tensor, classes: int) -> torch.Tensor:
    """(classes,) float32 in the loss, so that each counts alike; their mean over the examples is 1."""
    counts = torch.bincount(label, minlength=classes).float()
    return len(label) / (classes * counts.clamp(min=1))


def balanced_rows(label: torch.Tensor, classes: int) -> torch.Tensor:
    """(M,) int64: the rows of each class in turn, as often as the commonest class has rows."""
    each = [(label == one).nonzero().flatten() for one in range(classes)]
    most = max(map(len, each))
    return torch.cat([rows[torch.arange(most, device=rows.device) % len(rows)] for rows in each if len(rows)])


def _rows(stamps: StampSet, split: str) -> NDArray[np.int64]:
    rows = stamps.rows(split)
    present = np.unique(stamps.labels[rows])
    absent = [name for place, name in enumerate(stamps.classes) if place not in present]
    if not len(rows) or absent:
        raise DatasetError(f"split {split} of {len(rows)} stamps has no {' and no '.join(absent) or 'stamp'}")
    return rows


def _groups(stamps: StampSet) -> NDArray[np.int64]:
    """(N,): the place of each row's object; a row without a name is an object of its own."""
    names = stamps.oid if len(stamps.oid) == len(stamps) else np.full(len(stamps), "")
    _, group = np.unique(names, return_inverse=True)
    return np.where(names == "", len(names) + np.arange(len(names)), group)


def _balanced_subset(rows: NDArray[np.int64], label: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """About `count` of `rows`, as many of each class, the same ones each time."""
    mixed = np.random.default_rng(0).permutation(len(rows))
    classes = np.unique(label)
    each = max(count // len(classes), 1)
    return np.sort(np.concatenate([rows[mixed[label[mixed] == one][:each]] for one in classes]))


def _metadata(stamps: StampSet) -> NDArray[np.float32]:
    """The columns that ALeRCE takes, within its bounds; −1 for a value that is not there."""
    if not stamps.feature_names:
        raise DatasetError("this data set has no metadata; run with --set metadata=false")
    columns = []
    for place, name in enumerate(stamps.feature_names):
        if name not in LEFT_OUT:
            low, high = CLIPS.get(name, (None, None))
            column = stamps.features[..., place]
            columns.append(column if low is None and high is None else np.clip(column, low, high))
    found: NDArray[np.float32] = np.nan_to_num(np.stack(columns, axis=-1), nan=-1.0).astype(np.float32)
    return found
