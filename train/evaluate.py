"""How good answers are: scores, their uncertainty, calibration, and whether two models differ."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.cluster import KMeans
from sklearn.metrics import (
    adjusted_rand_score,
    confusion_matrix,
    normalized_mutual_info_score,
    precision_recall_fscore_support,
)
from sklearn.mixture import GaussianMixture

BINS: Final = 10
RESAMPLES: Final = 1000


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


def bootstrap_interval(
    label: NDArray[np.int64], probability: NDArray[np.floating], generator: np.random.Generator
) -> tuple[float, float]:
    """95 % interval of macro-F1 over resampled examples."""
    classes, answer = probability.shape[1], probability.argmax(axis=1)
    draws = generator.integers(len(label), size=(RESAMPLES, len(label)))
    pairs = label[draws] * classes + answer[draws]
    counts = [np.bincount(pair, minlength=classes**2).reshape(classes, classes) for pair in pairs]
    low, high = np.percentile([macro_f1(count) for count in counts], [2.5, 97.5])
    return float(low), float(high)


def mcnemar(label: NDArray[np.int64], ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> float:
    """Exact p-value that two classifiers err alike, from the examples on which only one is right (McNemar 1947)."""
    gained = int(((ours == label) & (theirs != label)).sum())
    lost = int(((ours != label) & (theirs == label)).sum())
    return 1.0 if gained + lost == 0 else float(binomtest(gained, gained + lost).pvalue)


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
