"""The experiments that there are: `experiments/NAME.toml`, with settings of the command line put over them."""

import itertools
import random
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from train.experiments import old_names
from train.experiments.experiment import READ_BY, Experiment, ExperimentError, ServingExperiment, build, nearest

FOLDER: Final = Path(__file__).parent
Point = dict[str, str]
"""Settings of one run of a search, as text."""
SCALE: Final = (
    *("epochs", "pretrain_epochs", "probe_epochs", "rows", "seeds", "seed", "mixed", "compiled"),
    *("steps", "head_steps", "search", "folds"),
)
"""How long, on how much and how fast: a run with other values is a shorter one of the same experiment."""


def names() -> list[str]:
    """Names of the experiments."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_experiment(name: str, settings: Sequence[str] = (), only: Sequence[str] = ()) -> list[Experiment]:
    """The runs of experiment `name`, one for each of its variants, with `key=value` settings put over all of them.

    only: variants, by default all. Raises ExperimentError naming the nearest experiment, variant or setting.
    """
    name = old_names.experiment(name)
    path = FOLDER / f"{name}.toml"
    if not path.is_file():
        raise ExperimentError(f"no experiment is called {name!r}{nearest(name, names())}")
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    variants = table.pop("variants", [{}])
    changes = dict(_setting(text) for text in settings)
    known = [own.get("variant", "") for own in variants]
    for variant in only:
        if variant not in known:
            raise ExperimentError(f"{name} has no variant {variant!r}{nearest(variant, list(filter(None, known)))}")
    chosen = [own for own in variants if not only or own.get("variant") in only]
    return [build({"name": name} | table | own | changes) for own in chosen]


def altered(experiment: Experiment) -> str:
    """What makes this another experiment than the file's, in words; empty where it is the same at its own scale."""
    if experiment.name not in names():
        return f"no experiment is called {experiment.name!r}"
    own = {run.variant: run for run in read_experiment(experiment.name)}.get(experiment.variant)
    if own is None:
        return f"{experiment.run} is none of the experiment's own runs"
    ours, theirs = experiment.settings(), own.settings()
    if ours["kind"] != theirs["kind"]:
        return f"kind is {ours['kind']!r}, not {theirs['kind']!r}"
    pretrained = [settings.get("pretrain_epochs", 0) for settings in (ours, theirs)]
    if bool(pretrained[0]) != bool(pretrained[1]):
        return f"pretrain_epochs is {pretrained[0]}, not {pretrained[1]}"
    return _difference(ours, theirs)


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


def unread(experiment: Experiment, settings: Sequence[str]) -> list[str]:
    """Of settings, `key` or `key=value`, those that change nothing in this experiment: each with why, in words."""
    keys = [text.partition("=")[0].strip() for text in settings]
    keys = [old_names.SETTINGS.get(key, key) for key in keys]
    found = [
        f"{key} changes nothing: {experiment.kind} does not read it, only {' and '.join(READ_BY[key])}"
        for key in keys
        if experiment.kind not in READ_BY.get(key, (experiment.kind,))
    ]
    if "simulated" in keys and isinstance(experiment, ServingExperiment) and experiment.search:
        found.append("simulated changes nothing: the trials choose it; with --set search=0 it is what you say")
    return found


def _difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    for key, value in ours.items():
        if value != theirs[key] and key not in {*SCALE, "title", "reference"}:
            return f"{key} is {value!r}, not {theirs[key]!r}"
    return ""


def _setting(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign:
        raise ExperimentError(f"--set {text!r}: key=value is needed, such as epochs=2")
    return old_names.setting(key.strip()), value.strip()
