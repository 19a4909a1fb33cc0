"""How good answers are: scores, their uncertainty, calibration, and whether two models differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import (
    adjusted_rand_score,
    confusion_matrix,
    normalized_mutual_info_score,
    precision_recall_fscore_support,
)
from sklearn.mixture import GaussianMixture

BINS: Final = 10
LENGTHS: Final = (1, 2, 3, 5, 10)
"""Numbers of alerts after which a sequence is scored."""
RESAMPLES: Final = 1000
FLIPS: Final = 10_000
FLIPS_AT_ONCE: Final = 500
Spread = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Scores:
    """Macro averages over the classes that occur, as fractions; accuracy; expected calibration error; matrix (C, C)."""

    precision: float
    recall: float
    f1: float
    accuracy: float
    calibration_error: float
    confusion: NDArray[np.int64]

    def to_dict(self) -> dict[str, float]:
        names = ("precision", "recall", "f1", "accuracy", "calibration_error")
        return {name: round(float(getattr(self, name)), 5) for name in names}


def score(label: NDArray[np.int64], probability: NDArray[np.floating]) -> Scores:
    """Scores of probability (N, C) against label (N,)."""
    answer = probability.argmax(axis=1)
    present = np.unique(label)
    precision, recall, f1, _ = precision_recall_fscore_support(
        label, answer, labels=present, average="macro", zero_division=0.0
    )
    return Scores(
        precision=float(precision),
        recall=float(recall),
        f1=float(f1),
        accuracy=float((answer == label).mean()),
        calibration_error=calibration_error(label, probability),
        confusion=confusion_matrix(label, answer, labels=np.arange(probability.shape[1])),
    )


def calibration_error(label: NDArray[np.int64], probability: NDArray[np.floating]) -> float:
    """Expected calibration error over ten equal bins of the largest probability (Guo et al. 2017)."""
    return float(sum(share * abs(right - sure) for share, right, sure in reliability(label, probability)))


def reliability(label: NDArray[np.int64], probability: NDArray[np.floating]) -> list[tuple[float, float, float]]:
    """For each bin that is not empty: its share of the examples, how many of them are right, how sure the model was."""
    sure, right = probability.max(axis=1), probability.argmax(axis=1) == label
    place = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    return [
        (float((place == one).mean()), float(right[place == one].mean()), float(sure[place == one].mean()))
        for one in range(BINS)
        if (place == one).any()
    ]


def per_class(label: NDArray[np.int64], probability: NDArray[np.floating]) -> NDArray[np.float64]:
    """(C, 4): precision, recall, F1 and number of examples of each class."""
    columns = precision_recall_fscore_support(
        label, probability.argmax(axis=1), labels=np.arange(probability.shape[1]), zero_division=0.0
    )
    return np.stack(columns, axis=1).astype(np.float64)


def macro_f1(confusion: NDArray[np.integer]) -> float:
    """Mean F1 of the classes that occur, from a confusion matrix (C, C) with the truth on rows."""
    right = np.diag(confusion)
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
    present = confusion.sum(axis=1) > 0
    return float((2 * right[present] / both[present]).mean())


def f1_by_length(
    lengths: NDArray[np.int64], label: NDArray[np.int64], probabilities: Mapping[str, NDArray[np.floating]]
) -> dict[str, dict[str, float]]:
    """Macro-F1 after 1, 2, 3, 5 and 10 alerts of an object, by what was scored, and how many objects have so many.

    lengths: (N,), alerts up to each prediction. label: (N,). probabilities: (N, C) of each. A length that no object has
    is left out.
    """
    found: dict[str, dict[str, float]] = {}
    for length in LENGTHS:
        rows = lengths == length
        if rows.any():
            f1 = {name: round(score(label[rows], one[rows]).f1, 4) for name, one in probabilities.items()}
            found[str(length)] = {"objects": float(rows.sum()), **f1}
    return found


def over_seeds(values: Sequence[float]) -> Spread:
    """Mean and sample deviation of one score of several seeds; of one seed there is no deviation."""
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None}


def worded(found: Mapping[str, float | None], digits: int, scale: float = 1.0) -> str:
    """A spread as text, `scale` times as large."""
    mean, sd = found["mean"] or 0.0, found["sd"]
    return f"{scale * mean:.{digits}f}{', one seed' if sd is None else f' ± {scale * sd:.{digits}f}'}"


def bootstrap_interval(
    label: NDArray[np.int64],
    probability: NDArray[np.floating],
    generator: np.random.Generator,
    group: NDArray[np.int64] | None = None,
) -> tuple[float, float]:
    """95 % interval of macro-F1 over resampled examples.

    probability: (N, C), or (S, N, C) of S seeds, whose mean score is taken in each resample. group: (N,), the object
    that each example is of; objects are drawn whole, for what is one object's errs alike.
    """
    classes, member = probability.shape[-1], _member(label, group)
    pairs = label * classes + np.atleast_2d(probability.argmax(axis=-1))
    objects = int(member.max()) + 1
    scores = []
    for draw in generator.integers(objects, size=(RESAMPLES, objects)):
        weight = np.bincount(draw, minlength=objects)[member]
        counts = [np.bincount(pair, weight, classes**2).reshape(classes, classes) for pair in pairs]
        scores.append(np.mean([macro_f1(count) for count in counts]))
    low, high = np.percentile(scores, [2.5, 97.5])
    return float(low), float(high)


def paired_test(
    label: NDArray[np.int64],
    ours: NDArray[np.int64],
    theirs: NDArray[np.int64],
    generator: np.random.Generator,
    group: NDArray[np.int64] | None = None,
) -> float:
    """p-value that two classifiers are right equally often, by flipping signs at random (Fisher 1935).

    ours, theirs: answers (S, N) of their seeds, of which there may be different numbers: what counts of an example is
    the share of seeds that are right. Were there no difference, each object's could as well have the other sign.
    group: as above. With one seed and no groups this is McNemar's exact test, but for the draws.
    """
    gain = (np.atleast_2d(ours) == label).mean(axis=0) - (np.atleast_2d(theirs) == label).mean(axis=0)
    by_object = np.bincount(_member(label, group), gain)
    by_object = by_object[by_object != 0]
    found = abs(by_object.sum()) - 1e-9
    extreme = 0
    for _ in range(FLIPS // FLIPS_AT_ONCE):
        signs = 2 * generator.integers(2, size=(FLIPS_AT_ONCE, len(by_object)), dtype=np.int8) - 1
        extreme += int((abs(signs @ by_object) >= found).sum())
    return (1 + extreme) / (1 + FLIPS)


def _member(label: NDArray[np.int64], group: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """(N,): the place of each example's object; without groups each example is its own."""
    return np.arange(len(label)) if group is None else np.unique(group, return_inverse=True)[1]


def clustering(latents: NDArray[np.floating], label: NDArray[np.int64], seed: int) -> dict[str, dict[str, float]]:
    """Purity, adjusted Rand index and normalised mutual information of k-means and of a Gaussian mixture.

    As many clusters as classes, on latents (N, L) as they are, after Astorga et al. 2018.
    """
    classes = len(np.unique(label))
    found = {
        "k-means": KMeans(classes, n_init=10, random_state=seed).fit_predict(latents),
        "Gaussian mixture": GaussianMixture(classes, reg_covar=1e-4, random_state=seed).fit_predict(latents),
    }
    return {name: _agreement(label, cluster) for name, cluster in found.items()}


def _agreement(label: NDArray[np.int64], cluster: NDArray[np.int64]) -> dict[str, float]:
    matrix = confusion_matrix(label, cluster)
    return {
        "purity": float(matrix.max(axis=0).sum() / matrix.sum()),
        "ari": float(adjusted_rand_score(label, cluster)),
        "nmi": float(normalized_mutual_info_score(label, cluster)),
    }
