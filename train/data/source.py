"""Where the stamps of a training come from: a file, its fingerprint, and whether they are real."""

from dataclasses import dataclass
from pathlib import Path

from train.data.pickles.layouts import read_layout
from train.data.stamp_set import UNSTATED, DatasetError, StampSet


@dataclass(frozen=True, slots=True)
class StampSource:
    """A run's data. name: of the file. fingerprint: of its content. origin: one of ORIGINS."""

    name: str
    fingerprint: str
    origin: str = UNSTATED


def load_stamps(path: Path) -> StampSet:
    """A data set from .npz, or straight from a pickle."""
    return StampSet.load(path) if path.suffix == ".npz" else read_layout(path)


def source_of(path: Path, stamps: StampSet, origin: str | None) -> StampSource:
    """What a run says of its data; its origin is the file's own mark, or `origin` where the file bears none.

    Raises DatasetError where the two contradict each other.
    """
    if origin and stamps.origin not in {origin, UNSTATED}:
        raise DatasetError(f"--origin {origin}: {path} says itself that it is {stamps.origin}; leave --origin out")
    return StampSource(path.name, stamps.fingerprint, origin or stamps.origin)
