"""What a stamp set holds: classes by split, ranges, and the repeats and leaks that its names do not show."""

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from train.data.stamp_set import SPLITS, StampSet

SAMPLE = 4096


@dataclass(frozen=True, slots=True)
class Inspection:
    """classes: name → examples by split. ranges: channel → (lowest, highest). distinct: split → distinct images.

    leaks: pair of splits → distinct images in both. features: name → (lowest, highest, values that are not there).
    unnamed: splits whose `oid` cannot be matched to their images.
    """

    classes: dict[str, dict[str, int]]
    ranges: dict[str, tuple[float, float]]
    distinct: dict[str, int]
    leaks: dict[tuple[str, str], int]
    features: dict[str, tuple[float, float, int]]
    unnamed: tuple[str, ...]

    def lines(self) -> list[str]:
        """For people; a leak or a repeat says so in words."""
        found = [
            f"{name}: " + ", ".join(f"{split} {count}" for split, count in by.items())
            for name, by in self.classes.items()
        ]
        for channel, (low, high) in self.ranges.items():
            beyond = "" if low >= 0 and high <= 1 else ", beyond the 0 … 1 that the models are made for"
            found.append(f"{channel}: {low:g} … {high:g}{beyond}")
        for name, (low, high, missing) in self.features.items():
            found.append(f"feature {name}: {low:g} … {high:g}" + (f", {missing} missing" if missing else ""))
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
    return Inspection(
        classes=_classes(stamps),
        ranges=_ranges(stamps),
        distinct={split: len(seen[split]) for split in SPLITS},
        leaks={(one, other): len(seen[one].keys() & seen[other].keys()) for one, other in pairs},
        features=_features(stamps),
        unnamed=tuple(split for split in SPLITS if not _named(stamps, split)),
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
