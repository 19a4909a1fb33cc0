"""The discriminator can see, the distances measure, and simulated alerts lie in the bands of real ones."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model_zoo.classes import CLASSES
from model_zoo.preprocess import Preprocessing
from train.data.alert_table import table_of
from train.data.from_archive import collect
from train.data.labels import read_labels
from train.simulation.realism.comparison import Gallery, crude, distance, observed, pixel_statistics, simulated
from train.simulation.realism.discriminator import DiscriminatorTraining
from train.simulation.realism.realism import Effort, assess, discriminability


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # results to the bit, and no fight with other processes


@pytest.fixture(scope="module")
def made() -> Gallery:
    return simulated(3, dict.fromkeys(CLASSES, 50))


def test_the_discriminator_sees_through_the_crude_control(made: Gallery) -> None:
    stars = made.of(CLASSES.index("VS"))
    assert discriminability(stars, crude(1, stars.label), DiscriminatorTraining(epochs=12), 0) >= 0.9


def test_the_discriminator_guesses_where_there_is_nothing_to_see(made: Gallery) -> None:
    stars = made.of(CLASSES.index("VS"))
    halves = [Gallery(stars.stamps[k::2], stars.label[k::2], stars.group[k::2], stars.fields[k::2]) for k in (0, 1)]
    assert discriminability(*halves, DiscriminatorTraining(epochs=6), 0) < 0.75


def test_distance_is_nought_for_the_same_and_one_for_the_apart() -> None:
    values = np.random.default_rng(0).normal(size=500)
    assert distance(values, values) == 0.0
    assert distance(values, values + 100.0) == 1.0
    assert distance(values, np.random.default_rng(1).normal(size=500)) < 0.12


BANDS = {
    "science noise": (4.0, 9.5), "template noise": (0.7, 3.0), "difference noise": (3.8, 9.0),
    "difference correlation x": (-0.12, 0.15),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BANDS))
def test_medians_lie_in_the_bands_of_real_alerts(made: Gallery, name: str) -> None:
    """The bands hold the class medians of the real labelled alerts."""
    low, high = BANDS[name]
    for code in range(len(CLASSES)):
        assert low < np.median(pixel_statistics(made.of(code).stamps)[name]) < high


def test_stars_are_as_sharp_as_real_ones(made: Gallery) -> None:
    """Real variable stars have 0.11 to 0.13 of their light in the template's brightest pixel, quartile to quartile."""
    sharpness = pixel_statistics(made.of(CLASSES.index("VS")).stamps)["template concentration"]
    assert 0.10 < np.median(sharpness) < 0.14


def test_simulated_statistics_lie_near_the_real_ones(real_alerts: Path, made: Gallery) -> None:
    labels = read_labels(real_alerts / "labels.csv")
    examples, _ = collect([real_alerts / "labelled.tar.gz"], labels, Preprocessing(63))
    real = observed(table_of(examples, labels))
    for code, label in enumerate(CLASSES):
        pair = [pixel_statistics(one.of(code).stamps) for one in (real, made)]
        far = np.mean([distance(pair[0][name], pair[1][name]) for name in pair[0]])
        assert far < 0.4, label


@pytest.mark.slow
def test_the_report_is_written(real_alerts: Path, tmp_path: Path) -> None:
    brief = DiscriminatorTraining(epochs=1)
    effort = Effort(40, brief, brief, brief)
    numbers = assess([real_alerts / "labelled.tar.gz"], real_alerts / "labels.csv", tmp_path, effort, 1)
    assert set(numbers["discriminability"]) == set(CLASSES)
    text = (tmp_path / "report.md").read_text()
    assert "What is not realistic yet" in text
    for name in [line.split("(")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")]:
        assert (tmp_path / name).stat().st_size > 1000
