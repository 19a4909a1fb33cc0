import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from train.training.scores import (
    bootstrap_interval,
    calibration_error,
    clustering,
    f1_by_length,
    macro_f1,
    over_seeds,
    paired_test,
    reliability,
    score,
    worded,
)


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


def test_a_bin_is_a_tenth_wide_and_the_last_one_holds_certainty_itself() -> None:
    """(share of the examples, share that is right, how sure), of 0.8 … 0.9 and of 0.9 … 1."""
    label, said = np.array([0, 0, 0, 0, 1]), np.array([0, 0, 1, 0, 1])
    probability = np.concatenate([answers(said[:2], 0.85), answers(said[2:4], 0.95), answers(said[4:], 1.0)])
    [lower, upper] = reliability(label, probability)
    assert lower == pytest.approx((0.4, 1.0, 0.85))
    assert upper == pytest.approx((0.6, 2 / 3, 2.9 / 3))


def test_the_interval_is_95_percent_of_the_resampled_scores() -> None:
    draw = np.random.default_rng(0)
    label = np.arange(80) % 3
    said = np.where(draw.random(80) < 0.7, label, (label + 1) % 3)
    draws = np.random.default_rng(1).integers(80, size=(1000, 80))
    each = [
        2
        * ((label[draws] == one) & (said[draws] == one)).sum(1)
        / ((label[draws] == one).sum(1) + (said[draws] == one).sum(1))
        for one in range(3)
    ]
    scores = np.mean(each, axis=0)
    low, high = bootstrap_interval(label, answers(said, 0.9), np.random.default_rng(1))
    assert (scores < low).sum() == pytest.approx(25, abs=1)
    assert (scores > high).sum() == pytest.approx(25, abs=1)


def test_the_interval_holds_the_score_and_narrows_with_examples() -> None:
    draw = np.random.default_rng(0)

    def width(rows: int) -> float:
        label = np.arange(rows) % 3
        said = np.where(draw.random(rows) < 0.8, label, (label + 1) % 3)
        low, high = bootstrap_interval(label, answers(said, 0.9), np.random.default_rng(1))
        assert low < score(label, answers(said, 0.9)).f1 < high
        return high - low

    assert width(3000) < width(150) / 2


def test_the_interval_is_of_the_mean_over_all_seeds() -> None:
    draw = np.random.default_rng(0)
    label = np.arange(600) % 3
    good, bad = (np.where(draw.random(600) < right, label, (label + 1) % 3) for right in (0.9, 0.5))
    both = np.stack([answers(good, 0.9), answers(bad, 0.9)])
    low, high = bootstrap_interval(label, both, np.random.default_rng(1))
    assert low < np.mean([score(label, one).f1 for one in both]) < high
    assert score(label, both[1]).f1 < low < high < score(label, both[0]).f1
    twice = bootstrap_interval(label, np.stack([both[0], both[0]]), np.random.default_rng(1))
    assert twice == pytest.approx(bootstrap_interval(label, both[0], np.random.default_rng(1)))


def test_stamps_of_one_object_count_as_one_in_interval_and_test() -> None:
    draw = np.random.default_rng(0)
    objects = np.arange(90)
    label = objects % 3
    ours, theirs = (np.where(draw.random(90) < right, label, (label + 1) % 3) for right in (0.8, 0.7))
    group = objects.repeat(5)
    probability = answers(ours, 0.9)
    alone = bootstrap_interval(label, probability, np.random.default_rng(1))
    repeated = label.repeat(5), probability.repeat(5, axis=0)
    assert bootstrap_interval(*repeated, np.random.default_rng(1), group) == pytest.approx(alone)
    naive = bootstrap_interval(*repeated, np.random.default_rng(1))
    assert naive[1] - naive[0] < (alone[1] - alone[0]) / 1.8
    first = paired_test(label, ours, theirs, np.random.default_rng(1))
    five = [one.repeat(5) for one in (label, ours, theirs)]
    assert paired_test(*five, np.random.default_rng(1), group) == first
    assert paired_test(*five, np.random.default_rng(1)) < first / 4


def test_with_one_seed_the_paired_test_is_mcnemar_s() -> None:
    label, right = np.zeros(60, int), np.zeros(60, int)
    assert paired_test(label, right, right, np.random.default_rng(1)) == 1.0
    for gained, lost in ((10, 0), (12, 5), (9, 8)):
        theirs, ours = right.copy(), right.copy()
        theirs[:gained], ours[gained : gained + lost] = 1, 1
        exact = binomtest(gained, gained + lost).pvalue
        assert paired_test(label, ours, theirs, np.random.default_rng(1)) == pytest.approx(exact, abs=0.02, rel=0.02)


def test_a_difference_that_no_draw_reaches_has_the_p_value_of_the_draws_and_is_never_impossible() -> None:
    label = np.zeros(200, int)
    assert paired_test(label, label, label + 1, np.random.default_rng(1)) == pytest.approx(1 / 10_001)


def test_the_paired_test_asks_every_seed() -> None:
    """The first seeds agree; what the others gain is seen."""
    label = np.zeros(60, int)
    ours, theirs = np.zeros((3, 60), int), np.zeros((2, 60), int)
    theirs[1, :12] = 1
    assert paired_test(label, ours, theirs, np.random.default_rng(1)) < 0.01
    assert paired_test(label, ours[0], theirs[0], np.random.default_rng(1)) == 1.0


def test_one_seed_has_no_deviation_and_several_have_the_sample_s() -> None:
    assert worded(over_seeds([0.5626]), 4) == "0.5626, one seed"
    assert over_seeds([0.4, 0.6])["sd"] == pytest.approx(0.2 / np.sqrt(2))
    assert worded(over_seeds([0.4, 0.6]), 1, 100) == "50.0 ± 14.1"


def test_clusters_that_are_the_classes_agree_in_full() -> None:
    label = np.arange(60) % 3
    latents = np.eye(3)[label] * 10 + np.random.default_rng(0).normal(0, 0.1, (60, 3))
    for found in clustering(latents, label, 0).values():
        assert found == pytest.approx({"purity": 1.0, "ari": 1.0, "nmi": 1.0})


def test_scores_by_length_are_of_the_alerts_of_just_that_length_and_lengths_without_an_object_are_left_out() -> None:
    lengths, label = np.array([1, 1, 2, 4, 10]), np.array([0, 1, 1, 0, 0])
    right, wrong = np.eye(2)[label], np.eye(2)[1 - label]
    mixed = np.where((lengths == 1)[:, None], right, wrong)
    assert f1_by_length(lengths, label, {"mixed": mixed, "right": right}) == {
        "1": {"objects": 2.0, "mixed": 1.0, "right": 1.0},
        "2": {"objects": 1.0, "mixed": 0.0, "right": 1.0},
        "10": {"objects": 1.0, "mixed": 0.0, "right": 1.0},
    }
