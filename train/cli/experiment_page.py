"""What `estampa-train experiments NAME` prints: settings with their meaning, runs, data, and how to make such data."""

from collections.abc import Sequence
from typing import Any, Final

from train.data.pickle_layouts import PICKLE_LAYOUTS
from train.experiments.catalogue import read_experiment
from train.experiments.experiment import Experiment, ServingExperiment

NOT_SET: Final = ("name", "title", "kind", "layout", "variant", "reference")
"""What `--set` is not for."""
ARCHIVES: Final = """\
Data: archives of alerts (.tar, .tar.gz, .avro, or a folder of them), real ones with labels.csv (candid,label) beside
them and simulated ones with their truth table; a data set of stamps too. To make some:
  estampa-train simulate night --date 2026-01-01 --alerts 20000 --out night.tar.gz
  estampa-train run {name} --data night.tar.gz"""
STAMPS: Final = """\
Data: one data set, a pickle in the layout {layout} or an .npz:
{shape}; {classes}. To make one:
  estampa-train simulate dataset --like {layout} --out {layout}.pkl --scale 0.1
  estampa-train run {name} --data {layout}.pkl"""
OWN_ALERTS: Final = """
or, from your own alerts:
  estampa-train dataset build ARCHIVE --labels labels.csv --size {side} --out data.npz
  estampa-train run {name} --data data.npz"""


def experiment_page(name: str) -> str:
    """Plain text. Raises ExperimentError naming the nearest experiment."""
    runs = read_experiment(name)
    first, keys = runs[0], settings_of(runs[0])
    common = [key for key in keys if len({getattr(run, key) for run in runs}) == 1]
    lines = [f"{first.name}: {first.title}", f"Model: {first.kind}", "", "Settings (--set NAME=VALUE):"]
    lines += _described(first, common)
    if len(runs) > 1:
        lines += ["", "Runs (--only NAME):", *_variants(runs, [key for key in keys if key not in common])]
    return "\n".join([*lines, "", _data(first)])


def settings_of(experiment: Experiment) -> list[str]:
    """Names of the settings that its model reads and `--set` takes."""
    return [key for key in type(experiment).model_fields if key not in NOT_SET]


def _described(experiment: Experiment, keys: Sequence[str]) -> list[str]:
    settings = [_setting(experiment, key) for key in keys]
    width = max(map(len, settings))
    meanings = [type(experiment).model_fields[key].description for key in keys]
    return [f"  {setting:{width}}   {meaning}" for setting, meaning in zip(settings, meanings, strict=True)]


def _variants(runs: Sequence[Experiment], keys: Sequence[str]) -> list[str]:
    meanings = [f"  {key}: {type(runs[0]).model_fields[key].description}" for key in keys]
    return [*(f"  {run.variant}: {', '.join(_setting(run, key) for key in keys)}" for run in runs), "where", *meanings]


def _setting(experiment: Experiment, key: str) -> str:
    """A setting as `--set` takes it."""
    value: Any = getattr(experiment, key)
    if isinstance(value, bool):
        value = str(value).lower()
    return f"{key} = {','.join(value) if isinstance(value, tuple) else value}"


def _data(experiment: Experiment) -> str:
    if isinstance(experiment, ServingExperiment):
        return ARCHIVES.format(name=experiment.name)
    layout = PICKLE_LAYOUTS[experiment.layout]
    length = f", {layout.length} of each object" if layout.sequence else ""
    return (STAMPS if layout.sequence else STAMPS + OWN_ALERTS).format(
        name=experiment.name,
        layout=experiment.layout,
        shape=f"stamps of {layout.side}×{layout.side} pixels{length}",
        classes=", ".join(layout.classes),
        side=layout.side,
    )
