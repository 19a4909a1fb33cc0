"""How real the simulated alerts are: the two figures that count, and the distances of the distributions behind them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score, roc_auc_score

from consumer.decoding.packet import PacketReader
from model_zoo.preprocess import STAMP_SIDE, Preprocessing, normalise
from train.data.alert_table import Example, read_examples, table_of
from train.data.from_archive import collect
from train.data.labels import read_labels
from train.data.pickle_layouts import FEATURES
from train.simulation.nights.night import NightRequest, write_night
from train.simulation.nights.sink import TarSink
from train.simulation.random import Floats, Ints, Pixels
from train.simulation.realism import report
from train.simulation.realism.comparison import Gallery, crude, distance, observed, pixel_statistics, simulated
from train.simulation.realism.discriminator import (
    DiscriminatorTraining,
    class_probabilities,
    fit_discriminator,
    out_of_fold,
)
from train.simulation.sources.source import LABELS
from train.simulation.survey import QUADRANT_COLUMNS, QUADRANT_ROWS

CUT_SIDE = 21
NIGHT, NIGHT_ALERTS = date(2026, 1, 1), 600
MIN_ALERTS = 20  # a class with fewer real alerts is left out: five folds of less than four say nothing


@dataclass(frozen=True, slots=True)
class Effort:
    """How much work goes into the figures. train: simulated alerts a class that the classifier learns from."""

    train: int = 1200
    apart: DiscriminatorTraining = field(default_factory=lambda: DiscriminatorTraining(epochs=40))
    classes: DiscriminatorTraining = field(default_factory=lambda: DiscriminatorTraining(epochs=12))
    real: DiscriminatorTraining = field(default_factory=lambda: DiscriminatorTraining(epochs=60))


def central(stamps: Pixels, side: int) -> Pixels:
    """The middle `side` pixels, each channel scaled to [0, 1] as the model sees it."""
    start = (STAMP_SIDE - side) // 2
    return normalise(stamps[:, :, start : start + side, start : start + side])


def discriminability(real: Gallery, other: Gallery, training: DiscriminatorTraining, seed: int) -> float:
    """Accuracy of a discriminator on real stamps against others, out of fold by object; 0.5 is what guessing gives."""
    images = np.concatenate([central(real.stamps, STAMP_SIDE), central(other.stamps, STAMP_SIDE)])
    truth = np.r_[np.zeros(len(real.label), np.int64), np.ones(len(other.label), np.int64)]
    groups = np.concatenate([real.group, other.group])
    return float(np.mean(out_of_fold(images, truth, groups, 2, training, seed) == truth))


def _macro_f1(truth: Ints, predicted: Ints) -> tuple[float, list[float]]:
    codes = list(range(len(LABELS)))
    each = f1_score(truth, predicted, labels=codes, average=None, zero_division=0.0)
    return float(np.mean(each)), [round(float(value), 3) for value in each]


def transfer(real: Gallery, effort: Effort, seed: int) -> dict[str, Any]:
    """Macro-F1 on real alerts of a discriminator trained on simulated ones alone, and of one trained on real ones."""
    images = central(real.stamps, CUT_SIDE)
    made = simulated(seed, dict.fromkeys(LABELS, effort.train))
    discriminator = fit_discriminator(central(made.stamps, CUT_SIDE), made.label, len(LABELS), effort.classes, seed)
    from_sim = _macro_f1(real.label, class_probabilities(discriminator, images).argmax(axis=1))
    from_real = _macro_f1(real.label, out_of_fold(images, real.label, real.group, len(LABELS), effort.real, seed))
    return {
        "learnt from": {"simulated": from_sim[0], "real (5-fold by object)": from_real[0]},
        "by class": {"simulated": from_sim[1], "real (5-fold by object)": from_real[1]},
        "simulated alerts": len(made.label),
        "real alerts": len(real.label),
    }


def forest_auc(real: Gallery, made: Gallery) -> float:
    """Area under the curve of a random forest that tells the two apart by their pixel statistics, out of bag.

    It sees levels in DN, which the network's scaled stamps hide: the harsher of the two.
    """
    tables = [np.stack(list(pixel_statistics(one.stamps).values()), axis=1) for one in (real, made)]
    truth = np.r_[np.zeros(len(real.label)), np.ones(len(made.label))]
    forest = RandomForestClassifier(300, min_samples_leaf=3, oob_score=True, random_state=0)
    forest.fit(np.nan_to_num(np.concatenate(tables)), truth)
    return float(roc_auc_score(truth, forest.oob_decision_function_[:, 1]))


def distances(real: Gallery, made: Gallery) -> dict[str, dict[str, float]]:
    """Kolmogorov and Smirnov's distance by class, of each pixel statistic and candidate field."""
    out: dict[str, dict[str, float]] = {}
    for code, label in enumerate(LABELS):
        pair = real.of(code), made.of(code)
        if min(len(one.label) for one in pair) < MIN_ALERTS:
            continue
        pixels = [pixel_statistics(one.stamps) for one in pair]
        found = {name: distance(pixels[0][name], pixels[1][name]) for name in pixels[0]}
        columns: list[Floats] = [one.fields for one in pair]
        found |= {name: distance(columns[0][:, i], columns[1][:, i]) for i, name in enumerate(FEATURES)}
        out[label] = {name: round(value, 3) for name, value in found.items()}
    return out


def apart_by_class(real: Gallery, made: Gallery, effort: Effort, seed: int) -> dict[str, dict[str, float]]:
    """By class: accuracy at telling real from simulated stamps, and from the crude control, and how many alerts."""
    out: dict[str, dict[str, float]] = {}
    for code, label in enumerate(LABELS):
        mine, theirs = real.of(code), made.of(code)
        if len(mine.label) < MIN_ALERTS:
            continue
        control = crude(seed, mine.label)
        out[label] = {
            "alerts": len(mine.label),
            "simulated": round(discriminability(mine, theirs, effort.apart, seed), 3),
            "control": round(discriminability(mine, control, effort.apart, seed), 3),
            "forest AUC": round(forest_auc(mine, theirs), 3),
        }
    return out


def matched(real: Gallery, seed: int) -> Gallery:
    """As many simulated alerts of each class as there are real ones."""
    counts = np.bincount(real.label, minlength=len(LABELS)).tolist()
    return simulated(seed, dict(zip(LABELS, counts, strict=True)))


def _packets(seed: int) -> list[Example]:
    """A simulated night as the consumer reads it."""
    with TemporaryDirectory() as folder:
        archive = Path(folder) / "night.tar.gz"
        request = NightRequest(NIGHT, NIGHT_ALERTS, seed)
        write_night(request, TarSink(archive), Path(folder) / "truth.parquet")
        return [
            one
            for one in read_examples([archive], Preprocessing(STAMP_SIDE), PacketReader())
            if isinstance(one, Example)
        ]


def _rates(examples: list[Example]) -> dict[str, float]:
    """Median packet size in kB, share of alerts with NaN, share cut by a border, mean share of pixels that are NaN."""
    whole = [one for one in examples if not _at_border(one)]
    masked = [np.isnan(one.pixels[0]).any() for one in whole]
    return {
        "median packet / kB": float(np.median([one.packet_bytes for one in examples])) / 1000,
        "alerts with NaN": float(np.mean(masked)),
        "alerts cut by a border": 1.0 - len(whole) / len(examples),
        "NaN pixels": float(np.mean([np.isnan(one.pixels[0]).mean() for one in whole])),
    }


def _at_border(example: Example) -> bool:
    x, y = example.alert.xpos, example.alert.ypos
    if x is None or y is None:
        return False
    half = STAMP_SIDE // 2
    return not (half < round(x) <= QUADRANT_COLUMNS - half and half < round(y) <= QUADRANT_ROWS - half)


def assess(archives: Sequence[Path], labels_path: Path, out: Path, effort: Effort, seed: int) -> dict[str, Any]:
    """Compare, discriminator, and write the report into `out`; returns its numbers.

    Raises ValueError or ArchiveError for archives or labels that cannot be used.
    """
    labels = read_labels(labels_path)
    examples, _ = collect(archives, labels, Preprocessing(STAMP_SIDE))
    real, night = observed(table_of(examples, labels)), _packets(seed)
    made = matched(real, seed)
    rates = [_rates(examples), _rates(night)]
    numbers: dict[str, Any] = {
        "discriminability": apart_by_class(real, made, effort, seed),
        "transfer": transfer(real, effort, seed),
        "rates": {name: [one[name] for one in rates] for name in rates[0]},
        "distances": distances(real, made),
    }
    sizes = {"real": examples, "simulated": night}
    in_kb = {name: np.array([one.packet_bytes for one in group]) / 1000 for name, group in sizes.items()}
    report.write_realism_report(numbers, real, made, in_kb, out)
    return numbers
