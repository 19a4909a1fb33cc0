"""The seed projects' five pickles filled from the simulated sky.

The scale is that of the training set: of ten stamps in validation and test no score would mean anything.
"""

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from train.files import atomic_write
from train.simulation.datasets.sample import (
    SimulatedStamps,
    block_sequences,
    draw_stamp_set,
    sample_alerts,
    sequence_blocks,
)
from train.simulation.nights.plan import NightPlan, concatenate_plans
from train.simulation.random import Floats, Ints, KeyedRandom, Pixels
from train.simulation.sources.source import LABELS
from train.simulation.workforce import ordered

SCIENCE, TEMPLATE, DIFFERENCE = 0, 1, 2
THREE_CLASSES = ("AGN", "SN", "VS")
# Distinct training objects by class. They sum to the 50,594 names of `stamp_dataset_21_new`; the commonest class has
# the 14,542 rows to which the others are filled up; the rest is ALeRCE's set less validation and test.
DISTINCT = {"AGN": 14_370, "SN": 1_420, "VS": 14_542, "asteroid": 9_699, "bogus": 10_563}
HELD_OUT = 100


@dataclass(frozen=True, slots=True)
class AlertLayout:
    """A pickle of single alerts: side in pixels, order of the channels, key and kind of its labels.

    `named`: labels are class names. `float_train`: labels are floats in train, integers in the others.
    """

    side: int
    channels: tuple[int, int, int]
    label_key: str
    named: bool = False
    float_train: bool = False
    oid: bool = True


@dataclass(frozen=True, slots=True)
class SequenceLayout:
    """A pickle of sequences: side in pixels, alerts an object, objects by class; held out a class, 0 for no split."""

    side: int
    length: int
    objects: dict[str, int]
    held_out: int = 0


SEED_LAYOUTS: dict[str, AlertLayout | SequenceLayout] = {
    "stamp_dataset_21_new": AlertLayout(21, (DIFFERENCE, SCIENCE, TEMPLATE), "class", float_train=True),
    "stamp_dataset_28": AlertLayout(28, (DIFFERENCE, SCIENCE, TEMPLATE), "labels", named=True),
    "td_ztf_stamp_17_06_20": AlertLayout(63, (SCIENCE, TEMPLATE, DIFFERENCE), "labels", oid=False),
    "5stamps_dataset": SequenceLayout(21, 5, {"AGN": 28_092, "SN": 1_516, "VS": 93_619}, held_out=200),
    "recurrent_dataset": SequenceLayout(27, 3, {"AGN": 17_587, "SN": 949, "VS": 58_610}),
}


def seed_layout(name: str) -> AlertLayout | SequenceLayout:
    """The layout of a name, with or without its suffix. Raises ValueError naming those there are."""
    stem = name.removesuffix(".pkl").removesuffix(".pk")
    if stem not in SEED_LAYOUTS:
        raise ValueError(f"no data set is like {name!r}: choose from {', '.join(SEED_LAYOUTS)}")
    return SEED_LAYOUTS[stem]


def scaled(count: int, scale: float) -> int:
    """A count at a scale, at least 2: no class is empty."""
    return max(2, round(count * scale))


CHUNK_ALERTS = 120  # a multiple of the sequences' 3 and 5 alerts
PICKLE_PROTOCOL = 4  # Python 3.4 and later read it
Split = dict[str, Any]
Progress = Callable[[str, int, int], None]
DrawTask = tuple[int, NightPlan, int, bool]
BlockTask = tuple[int, str, int, int]


def _draw(task: DrawTask) -> SimulatedStamps:
    seed, plan, side, with_features = task
    return draw_stamp_set(seed, plan, side, with_features=with_features)


def _look(task: BlockTask) -> NightPlan:
    return block_sequences(*task)


def _drawn(
    seed: int, plan: NightPlan, side: int, processes: int, *, with_features: bool
) -> Iterator[tuple[slice, SimulatedStamps]]:
    starts = range(0, len(plan), CHUNK_ALERTS)
    tasks = [(seed, plan.take(slice(s, s + CHUNK_ALERTS)), side, with_features) for s in starts]
    for start, part in zip(starts, ordered(_draw, tasks, processes), strict=True):
        yield slice(start, start + len(part.images)), part


def _replicated(labels: Ints, rng: np.random.Generator) -> Ints:
    """Rows of a training set in which every class is repeated up to the commonest one's count, shuffled."""
    most = int(np.bincount(labels).max())
    return rng.permutation(np.concatenate([np.resize(np.flatnonzero(labels == c), most) for c in np.unique(labels)]))


def _labels(codes: Ints, wanted: AlertLayout, *, train: bool) -> Any:
    if wanted.named:
        return np.array(LABELS)[codes]
    return codes.astype(np.float64) if train and wanted.float_train else codes


def alert_pickle(seed: int, wanted: AlertLayout, scale: float, processes: int, progress: Progress) -> dict[str, Split]:
    """A pickle's content: {'Train', 'Validation', 'Test'} → arrays, channels last.

    Train is balanced by replication, so its `oid`, one an object, is shorter than its images: as in the original.
    """
    counts = [scaled(DISTINCT[label], scale) + 2 * HELD_OUT for label in LABELS]
    plan = concatenate_plans(
        [sample_alerts(KeyedRandom(seed), label, n) for label, n in zip(LABELS, counts, strict=True)]
    )
    images = np.empty((len(plan), wanted.side, wanted.side, 3), dtype=np.float32)
    numbers: Floats = np.empty((len(plan), 26))
    oid: list[str] = []
    for rows, part in _drawn(seed, plan, wanted.side, processes, with_features=True):
        images[rows] = part.images[:, wanted.channels].transpose(0, 2, 3, 1)
        numbers[rows] = part.features
        oid += part.oid
        progress("alerts", rows.stop, len(plan))
    rng = np.random.default_rng(np.random.SeedSequence([seed, len(plan)]))
    chosen = _splits(plan.label, HELD_OUT, rng)
    content = {}
    for name, rows_of in chosen.items():
        train = name == "Train"
        repeated = rows_of[_replicated(plan.label[rows_of], rng)] if train else rows_of
        split: Split = {"images": images[repeated], "features": numbers[repeated]}
        split[wanted.label_key] = _labels(plan.label[repeated], wanted, train=train)
        content[name] = split | ({"oid": np.array(oid)[rows_of]} if wanted.oid else {})
    return content


def _splits(labels: Ints, held: int, rng: np.random.Generator) -> dict[str, Ints]:
    """Rows of each split: `held` of each class in validation and in test, the rest in train; all objects differ."""
    mixed = [rng.permutation(np.flatnonzero(labels == code)) for code in np.unique(labels)]
    return {
        "Train": rng.permutation(np.concatenate([rows[2 * held :] for rows in mixed])),
        "Validation": np.concatenate([rows[:held] for rows in mixed]),
        "Test": np.concatenate([rows[held : 2 * held] for rows in mixed]),
    }


def _sequence_plan(seed: int, label: str, wanted: int, length: int, processes: int, progress: Progress) -> NightPlan:
    """Sequences of `wanted` objects of a class; rows of an object together, in time order."""
    parts: list[NightPlan] = []
    tasks = ((seed, label, block, length) for block in sequence_blocks(label))
    for part in ordered(_look, tasks, processes):
        parts.append(part)
        found = sum(map(len, parts)) // length
        progress(f"objects of class {label}", min(found, wanted), wanted)
        if found >= wanted:
            return concatenate_plans(parts).take(slice(0, wanted * length))
    raise ValueError(f"the sky holds fewer than {wanted} {label} with {length} alerts: ask for a smaller --scale")


def _sequence_arrays(
    seed: int, plan: NightPlan, wanted: SequenceLayout, processes: int, progress: Progress
) -> dict[str, Pixels]:
    count, side, length = len(plan) // wanted.length, wanted.side, wanted.length
    template = np.empty((count, side, side), dtype=np.float32)
    series = {name: np.empty((count, length, side, side), dtype=np.float32) for name in ("science", "difference")}
    for rows, part in _drawn(seed, plan, side, processes, with_features=False):
        objects = slice(rows.start // length, rows.stop // length)
        images = part.images.reshape(-1, length, 3, side, side)
        template[objects] = images[:, 0, TEMPLATE]
        series["science"][objects], series["difference"][objects] = images[:, :, SCIENCE], images[:, :, DIFFERENCE]
        progress("alerts", rows.stop, len(plan))
    return {"template": template} | series


def sequence_pickle(seed: int, wanted: SequenceLayout, scale: float, processes: int, progress: Progress) -> Split:
    """A pickle's content: arrays of sequences and integer labels (0 AGN, 1 SN, 2 VS), split or not as the original."""
    held = wanted.held_out
    counts = {label: scaled(wanted.objects[label], scale) + 2 * held for label in THREE_CLASSES}
    found = [_sequence_plan(seed, label, n, wanted.length, processes, progress) for label, n in counts.items()]
    arrays = _sequence_arrays(seed, concatenate_plans(found), wanted, processes, progress)
    labels = np.repeat(np.arange(len(counts)), list(counts.values()))
    rng = np.random.default_rng(np.random.SeedSequence([seed, len(labels)]))
    if not held:
        order = rng.permutation(len(labels))
        return {name: array[order] for name, array in arrays.items()} | {"labels": labels[order]}
    return {
        split: {name: array[rows] for name, array in arrays.items()} | {"labels": labels[rows]}
        for split, rows in _splits(labels, held, rng).items()
    }


def write_dataset(name: str, out: Path, seed: int, scale: float, processes: int, progress: Progress) -> None:
    """Write the pickle that is like `name` to `out`, whole or not at all. Raises ValueError for an unknown name.

    It bears its origin under a key of its own, which readers of the original's keys do not look at.
    """
    wanted = seed_layout(name)
    make: Any = alert_pickle if isinstance(wanted, AlertLayout) else sequence_pickle
    content = make(seed, wanted, scale, processes, progress) | {"origin": "simulated"}
    with atomic_write(out) as partial, partial.open("wb") as file:
        pickle.dump(content, file, PICKLE_PROTOCOL)
