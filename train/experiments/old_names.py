"""Names of experiments and settings as they were in version 0.1, read for one more release with a warning."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from train.terminal import warn

SETTINGS: Final = {
    "rate": "lr",
    "decay": "weight_decay",
    "batch": "batch_size",
    "pretrained": "pretrain_epochs",
    "pretrained_rate": "pretrain_lr",
    "keeps": "checkpoint",
    "probe_rate": "probe_lr",
    "probe_batch": "probe_batch_size",
}
EXPERIMENTS: Final = {
    "seed000-reconstructor-v1.1": "reconstructor-v1.1",
    "seed000-reconstructor-v1": "reconstructor-v1",
    "seed000-clasificador-v2-random": "clasificador-v2-random",
    "seed000-clasificador-v2": "clasificador-v2",
    "seed000-clasificador-v1": "clasificador-v1",
    "seed001-augmentation": "ae-augmentation",
    "seed001-large3": "ae-large3",
    "seed001-latent": "ae-latent",
    "seed001-lr": "ae-lr",
    "seed001-ae": "ae",
    "seed001-recurrent": "recurrent",
    "seed001-staged": "staged",
    "seed001-vae": "vae",
}
"""Names that begin with another name stand before it."""


def setting(key: str) -> str:
    """The present name of a setting; warns where `key` is the old one."""
    if key in SETTINGS:
        warn(f"setting {key} is called {SETTINGS[key]} now; the old name is read until the next release")
    return SETTINGS.get(key, key)


def experiment(name: str) -> str:
    """The present name of an experiment; warns where `name` is the old one."""
    if name in EXPERIMENTS:
        warn(f"experiment {name} is called {EXPERIMENTS[name]} now; the old name is read until the next release")
    return EXPERIMENTS.get(name, name)


def present_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run's file, written by this version or the one before, by their present names."""
    found = {SETTINGS.get(key, key): value for key, value in settings.items()}
    return found | ({"name": EXPERIMENTS.get(found["name"], found["name"])} if "name" in found else {})


def folder_of(out: Path, run: str) -> Path:
    """Folder of `run` under `out`: where there is none, and one of the old name is, that one."""
    old = next((out / f"{was}{run[len(now) :]}" for was, now in EXPERIMENTS.items() if _begins(run, now)), None)
    return old if old and old.is_dir() and not (out / run).exists() else out / run


def _begins(run: str, name: str) -> bool:
    return run == name or run.startswith(f"{name}-")
