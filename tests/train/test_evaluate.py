import numpy as np
import pytest
from sklearn.metrics import f1_score

from train.evaluate import bootstrap_interval, calibration_error, clustering, macro_f1, mcnemar, score


def answers(label: np.ndarray, sure: float, classes: int = 3) -> np.ndarray:
    spread = np.full((len(label), classes), (1 - sure) / (classes - 1))
    spread[np.arange(len(label)), label] = sure
    return spread


def test_scores_are_those_of_scikit_learn_over_the_classes_that_occur() -> None:
    label = np.array([0, 0, 1, 1, 1])
    probability = answers(np.array([0, 1, 1, 1, 2]), 0.9)
    found = score(label, probability)
    said = probability.argmax(1)
    assert found.f1 == pytest.approx(f1_score(label, said, labels=[0, 1], average="macro"))
    assert found.accuracy == pytest.approx(0.6)
    assert found.confusion.tolist() == [[1, 1, 0], [0, 2, 1], [0, 0, 0]]
    assert macro_f1(found.confusion) == pytest.approx(found.f1)


def test_calibration_is_the_gap_between_how_sure_and_how_right() -> None:
    label = np.zeros(10, int)
    said = np.array([0] * 8 + [1] * 2)
    assert calibration_error(label, answers(said, 0.8)) == pytest.approx(0.0)
    assert calibration_error(label, answers(said, 0.95)) == pytest.approx(0.15)


def test_the_interval_holds_the_score_and_narrows_with_examples() -> None:
    draw = np.random.default_rng(0)

    def width(rows: int) -> float:
        label = np.arange(rows) % 3
        said = np.where(draw.random(rows) < 0.8, label, (label + 1) % 3)
        low, high = bootstrap_interval(label, answers(said, 0.9), np.random.default_rng(1))
        assert low < score(label, answers(said, 0.9)).f1 < high
        return high - low

    assert width(3000) < width(150) / 2


def test_mcnemar_asks_only_those_on_which_one_is_right() -> None:
    label = np.zeros(20, int)
    ours, theirs = np.zeros(20, int), np.zeros(20, int)
    assert mcnemar(label, ours, theirs) == 1.0
    theirs[:10] = 1
    assert mcnemar(label, ours, theirs) == pytest.approx(2 / 2**10)


def test_clusters_that_are_the_classes_agree_in_full() -> None:
    label = np.arange(60) % 3
    latents = np.eye(3)[label] * 10 + np.random.default_rng(0).normal(0, 0.1, (60, 3))
    for found in clustering(latents, label, 0).values():
        assert found == pytest.approx({"purity": 1.0, "ari": 1.0, "nmi": 1.0})
