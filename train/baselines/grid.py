"""The points of a search: `key=a,b,c` axes, all combinations or some."""

import itertools
import random
from collections.abc import Sequence

from train.experiments import old_names
from train.experiments.experiment import ExperimentError

Point = dict[str, str]


def read_grid(texts: Sequence[str], draws: int | None, seed: int) -> list[Point]:
    """Points of `key=a,b,c` axes, all combinations, or `draws` of them drawn at random.

    Raises ExperimentError on an axis without values.
    """
    axes: dict[str, list[str]] = {}
    for text in texts:
        key, _, values = text.partition("=")
        if not values:
            raise ExperimentError(f"--grid {text!r}: key=a,b,c is needed, such as lr=1e-3,1e-4")
        axes[old_names.setting(key.strip())] = [value.strip() for value in values.split(",")]
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    return points if draws is None else random.Random(seed).sample(points, min(draws, len(points)))  # noqa: S311
