"""The folder of a run: the names of its files, and whether the run in it is the one that is requested."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from train.experiments.experiment import Experiment, ExperimentError
from train.experiments.old_names import present_settings

CONFIG: Final = "config.json"
DATA: Final = "data.json"
SUMMARY: Final = "summary.json"
PREDICTIONS: Final = "predictions.npz"
"""Files of a finished run: its settings, its data, its figures, and its predictions for validation and test."""
WEIGHTS: Final = ("*.pt", "*.safetensors")
DESCRIPTION: Final = ("title", "reference", "name")
"""Settings that change no weight: they are for people to read."""
MAY_CHANGE: Final = ("epochs", "patience", "seeds", "probe_epochs")
"""Settings that a run which goes on may have changed."""
MAY_GROW: Final = ("epochs", "patience")
"""Of these, the ones that can only grow: weights that were trained for longer cannot go back."""


def check_resumable(folders: Sequence[Path]) -> None:
    """Raises ExperimentError unless one of the folders holds weights that a run can go on from."""
    if not any(next(folder.rglob(kind), None) for folder in folders for kind in WEIGHTS):
        looked = ", ".join(map(str, folders))
        raise ExperimentError(f"--resume: no run to go on with is in {looked}; give its --out, or leave --resume out")


def check_settings(folder: Path, experiment: Experiment, *, resume: bool) -> None:
    """Raises ExperimentError where `folder` holds a run of other settings, except those that `resume` may change."""
    for key, before, now in changed_settings(folder, experiment):
        continues = can_continue(key, before, now)
        if not (continues and resume):
            goes_on = "add --resume to go on with it, " if continues else ""
            raise ExperimentError(
                f"{folder} holds a run with {key} = {before!r}, and {now!r} is requested; {goes_on}give another --out, "
                "or run with --overwrite to begin anew"
            )


def check_data(folder: Path, source: Mapping[str, Any]) -> None:
    """Raises ExperimentError where the run in `folder` learned from other data than `source`; a file may be renamed."""
    before = read_json(folder / DATA)
    for key in ("fingerprint", "origin"):
        if key in before and before[key] != source[key]:
            raise ExperimentError(
                f"{folder} holds a run with {key} = {before[key]!r}, and {source[key]!r} is requested; give another "
                "--out, or run with --overwrite to begin anew"
            )


def changed_settings(folder: Path, experiment: Experiment) -> list[tuple[str, Any, Any]]:
    """Settings in which the run in `folder` differs from `experiment`: name, value before, value now."""
    before, now = present_settings(read_json(folder / CONFIG)), experiment.settings()
    known = [key for key in now if key in before and key not in DESCRIPTION]
    return [(key, before[key], now[key]) for key in known if before[key] != now[key]]


def can_continue(key: str, before: Any, now: Any) -> bool:
    """Whether a run whose setting was `before` can go on with `now`."""
    return key in MAY_CHANGE and not (key in MAY_GROW and now < before)


def clear(folder: Path) -> None:
    """Remove the run in `folder`. Raises ExperimentError where the folder holds something else."""
    if not folder.exists():
        return
    if not (folder / CONFIG).is_file() and any(folder.iterdir()):
        raise ExperimentError(f"--overwrite: {folder} holds no run, for it has no {CONFIG}; remove it yourself")
    shutil.rmtree(folder)


def read_json(path: Path) -> dict[str, Any]:
    """The object in the JSON file `path`; empty where there is no file. Raises ExperimentError on any other content."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ExperimentError(f"{path} cannot be read: {error}; add --overwrite to begin anew") from error
    if not isinstance(found, dict):
        raise ExperimentError(f"{path} holds a {type(found).__name__}, no object; add --overwrite to begin anew")
    return found
