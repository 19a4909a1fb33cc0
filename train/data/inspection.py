"""What a stamp set holds: classes by split, ranges, and the repeats and leaks that its names do not show."""

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from train.data.stamp_set import SPLITS, StampSet

SAMPLE = 4096
SHOWN_A_CLASS = 6


@dataclass(frozen=True, slots=True)
class Inspection:
    """classes: name → examples by split. ranges: channel → (lowest, highest). distinct: split → distinct images.

    leaks: pair of splits → distinct images in both. features: name → (lowest, highest, values that are not there).
    unnamed: splits whose `oid` cannot be matched to their images. objects: how many there are, 0 where none has a name.
    shared: objects that lie in two splits.
    """

    shape: tuple[int, ...]
    channels: tuple[str, ...]
    classes: dict[str, dict[str, int]]
    ranges: dict[str, tuple[float, float]]
    distinct: dict[str, int]
    leaks: dict[tuple[str, str], int]
    features: dict[str, tuple[float, float, int]]
    unnamed: tuple[str, ...]
    objects: int
    shared: int

    def lines(self) -> list[str]:
        """For people; a leak or a repeat says so in words."""
        size = "×".join(map(str, self.shape[1:-1]))
        found = [f"{self.shape[0]} examples of {size} pixels: {', '.join(self.channels)}"]
        found += [
            f"{name}: " + ", ".join(f"{split} {count}" for split, count in by.items())
            for name, by in self.classes.items()
        ]
        for channel, (low, high) in self.ranges.items():
            beyond = "" if low >= 0 and high <= 1 else ", beyond the 0 … 1 that the models are made for"
            found.append(f"{channel}: {low:g} … {high:g}{beyond}")
        for name, (low, high, missing) in self.features.items():
            found.append(f"feature {name}: {low:g} … {high:g}" + (f", {missing} missing" if missing else ""))
        if self.objects:
            found.append(f"{self.objects} objects, {self.shared} objects in two splits")
        found += [f"{split}: no object names, for `oid` cannot be matched to the images" for split in self.unnamed]
        for split, distinct in self.distinct.items():
            total = sum(by[split] for by in self.classes.values())
            found.append(f"{split}: {total} images, {distinct} distinct, {total - distinct} repeats")
        found += [
            f"LEAK: {count} images are in both {one} and {other}" for (one, other), count in self.leaks.items() if count
        ]
        return found


def inspect(stamps: StampSet) -> Inspection:
    """Find repeats and leaks by content, for names may be missing or wrong: N images are read once, in parts."""
    seen = _contents(stamps)
    pairs = [(one, other) for place, one in enumerate(SPLITS) for other in SPLITS[place + 1 :]]
    objects, shared = _objects(stamps)
    return Inspection(
        shape=stamps.images.shape,
        channels=stamps.channels,
        classes=_classes(stamps),
        ranges=_ranges(stamps),
        distinct={split: len(seen[split]) for split in SPLITS},
        leaks={(one, other): len(seen[one].keys() & seen[other].keys()) for one, other in pairs},
        features=_features(stamps),
        unnamed=tuple(split for split in SPLITS if not _named(stamps, split)),
        objects=objects,
        shared=shared,
    )


def _features(stamps: StampSet) -> dict[str, tuple[float, float, int]]:
    found = {}
    for place, name in enumerate(stamps.feature_names):
        column = stamps.features[..., place]
        known = column[np.isfinite(column)]
        low, high = (float(known.min()), float(known.max())) if known.size else (np.nan, np.nan)
        found[name] = (low, high, column.size - known.size)
    return found


def _named(stamps: StampSet, split: str) -> bool:
    """Whether a split's rows have names, or it has no rows."""
    rows = stamps.rows(split)
    return not len(rows) or (len(stamps.oid) == len(stamps) and bool((stamps.oid[rows] != "").any()))


def _objects(stamps: StampSet) -> tuple[int, int]:
    """How many objects have a name, and how many of them lie in two splits."""
    if len(stamps.oid) != len(stamps):
        return 0, 0
    named = stamps.oid != ""
    names, place = np.unique(stamps.oid[named], return_inverse=True)
    pairs = np.unique(np.stack([place, np.unique(stamps.split, return_inverse=True)[1][named]]), axis=1)
    return len(names), pairs.shape[1] - len(names)


def _contents(stamps: StampSet) -> dict[str, Counter[bytes]]:
    seen: dict[str, Counter[bytes]] = defaultdict(Counter)
    for row, split in enumerate(stamps.split):
        seen[str(split)][
            hashlib.blake2b(np.ascontiguousarray(stamps.images[row]).tobytes(), digest_size=16).digest()
        ] += 1
    return seen


def _classes(stamps: StampSet) -> dict[str, dict[str, int]]:
    return {
        name: {split: int((stamps.labels[stamps.rows(split)] == place).sum()) for split in SPLITS}
        for place, name in enumerate(stamps.classes)
    }


def _ranges(stamps: StampSet) -> dict[str, tuple[float, float]]:
    found = {}
    for place, channel in enumerate(stamps.channels):
        parts = [stamps.images[start : start + SAMPLE, ..., place] for start in range(0, len(stamps), SAMPLE)]
        found[channel] = (float(min(part.min() for part in parts)), float(max(part.max() for part in parts)))
    return found


def draw_page(stamps: StampSet, path: Path) -> None:
    """A PNG of a few stamps of each class, a row a class, channels side by side."""
    images = stamps.images[:, 0] if stamps.images.ndim == 5 else stamps.images
    codes = [code for code in range(len(stamps.classes)) if (stamps.labels == code).any()]
    figure = Figure(figsize=(3 * SHOWN_A_CLASS, 1.2 * len(codes)))  # no pyplot: it would ask for a window system
    axes = figure.subplots(len(codes), SHOWN_A_CLASS, squeeze=False)
    for row, code in zip(axes, codes, strict=True):
        chosen = np.flatnonzero(stamps.labels == code)[:SHOWN_A_CLASS]
        for axis in row:
            axis.set_axis_off()
        for axis, alert in zip(row, chosen, strict=False):
            axis.imshow(np.concatenate(list(np.moveaxis(images[alert], -1, 0)), axis=1), cmap="gray", origin="lower")
        row[0].set_title(f"{stamps.classes[code]}: {', '.join(stamps.channels)}", fontsize=8, loc="left")
    figure.tight_layout()
    figure.savefig(path, dpi=90)
