"""Runs beside each other, and beside the lines to beat."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.table import Table

from train.experiments.experiment import ExperimentError
from train.experiments.old_names import folder_of
from train.experiments.run_folder import PREDICTIONS, SUMMARY
from train.training.scores import paired_test, worded


@dataclass(frozen=True, slots=True)
class Line:
    """A published figure. protocol, reference: as text. run: of ours that answers it, if any. figure: key in `parity`.

    also: another run of ours that answers it, by the same figure.
    """

    protocol: str
    reference: str
    run: str = ""
    figure: str = ""
    also: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """A table of texts. head: names of the columns."""

    head: tuple[str, ...]
    body: Sequence[tuple[str, ...]]

    def markdown(self) -> str:
        ruled = [self.head, tuple("---" for _ in self.head), *self.body]
        return "\n".join(f"| {' | '.join(row)} |" for row in ruled)


LINES: Final = (
    Line(
        "frozen autoencoder, L = 42, reference protocol, macro recall", "72.45, and 4 points", "ae-latent-42", "recall"
    ),
    Line(
        "frozen autoencoder, L = 130, reference protocol, macro recall",
        "75.44, and 4 points",
        "ae-latent-130",
        "recall",
    ),
    Line(
        "joint autoencoder and cross entropy (a sister project), test accuracy",
        "82.2",
        "estampa-serve",
        "test_accuracy",
    ),
    Line(
        "end-to-end cross entropy (seed 000), test accuracy",
        "84.6",
        "clasificador-v1",
        "test_accuracy",
        also="estampa-serve",
    ),
    Line(
        "supervised ResNet with rotations (a sister project), 27 / 63 px, test accuracy",
        "89.2 / 90.3",
        "estampa-serve",
        "test_accuracy",
    ),
    Line("ALeRCE's stamp classifier with metadata, test accuracy", "91.3–94", "alerce-stamp-metadata", "test_accuracy"),
    Line(
        "sequences, 3 classes, images and Δt (Neira 2024), test accuracy; ours is without Δt, on data without times",
        "91–93",
        "recurrent-gru",
        "test_accuracy",
    ),
    Line("LSTM of five stamps, 3 classes (seed 001), test F1", "64.9", "recurrent-lstm", "test_f1"),
)


def comparison(runs: list[Path]) -> Table:
    """A table of finished runs. Raises ExperimentError on a folder that holds none, or on runs of different tests."""
    table = Table("run", "data", "validation F1", "test F1", "test accuracy", "PCA test F1", "p against the first")
    first: Path | None = None
    for folder in runs:
        summary = read_summary(folder)
        first = first or folder
        held = summary["honest"]
        table.add_row(
            summary["run"],
            summary["source"]["origin"],
            *(worded(one, 3) for one in (held["validation"]["f1"], held["test"]["f1"], held["test"]["accuracy"])),
            f"{summary['baseline']['test']['f1']:.3f}",
            "—" if folder == first else f"{paired(first, folder):.3g}",
        )
    return table


def paired(first: Path, second: Path) -> float:
    """p that two runs, all of their seeds, are right equally often on the test rows that both saw.

    Raises ExperimentError where the rows differ: labels alone, which may be in order of class, do not tell.
    """
    data = {read_summary(folder)["source"]["fingerprint"] for folder in (first, second)}
    with np.load(second / PREDICTIONS) as ours, np.load(first / PREDICTIONS) as theirs:
        label = ours["test_label"]
        if len(data) > 1 or not np.array_equal(label, theirs["test_label"]):
            raise ExperimentError(f"{first} and {second} were tested on different stamps; compare runs on one data set")
        mine, other = (one["test_probability"].argmax(axis=-1) for one in (ours, theirs))
        group = next((one["test_group"] for one in (ours, theirs) if "test_group" in one), None)  # rows are the same
    return paired_test(label, mine, other, np.random.default_rng(0), group)


def lines_to_beat(out: Path) -> Rows:
    """The lines to beat, ours in the last column with its data; a dash where no run of ours was made as defined."""
    return Rows(("protocol", "to beat", "ours"), [(line.protocol, line.reference, _ours(out, line)) for line in LINES])


def beside_the_seeds(out: Path) -> Rows:
    """Every figure that a seed published, and ours from the finished runs under `out`, with its data and its length."""
    rows = []
    for folder in finished_runs(out):
        summary = read_summary(folder)
        for name, theirs in summary["reference"].items():
            ours = summary["parity"][name]
            shown = _figure(ours), f"{ours - theirs:+.{_digits(ours)}f}"
            rows.append((summary["run"], name, _figure(theirs), shown[0], shown[1], _data(folder)))
    return Rows(("run", "figure", "seed's, real data", "ours", "difference", "our data"), rows)


def finished_runs(out: Path) -> list[Path]:
    """Folders of the finished runs under `out`, by name. Raises ExperimentError where there is none."""
    found = sorted(path.parent for path in out.glob(f"*/{SUMMARY}"))
    if not found:
        raise ExperimentError(f"{out} holds no finished run; give the folder that `estampa-train run --out` wrote to")
    return found


def rich_table(title: str, rows: Rows) -> Table:
    table = Table(*rows.head, title=title)
    for row in rows.body:
        table.add_row(*row)
    return table


def read_summary(folder: Path) -> dict[str, Any]:
    """summary.json of a finished run. Raises ExperimentError where there is none."""
    try:
        summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExperimentError(f"{folder} is not the folder of a finished run: {error}") from error
    return summary


def _ours(out: Path, line: Line) -> str:
    made = [run for run in (line.run, line.also) if run and (folder_of(out, run) / SUMMARY).is_file()]
    found = [
        f"{f'{run}: ' if run == line.also else ''}{_figure_of_run(folder_of(out, run), line.figure)}" for run in made
    ]
    return "; ".join(found) or "—"


def _figure_of_run(folder: Path, figure: str) -> str:
    summary = read_summary(folder)
    if "unlike" not in summary:
        return "— (run it again: it does not say whether its settings are the experiment's own)"
    return "—" if summary["unlike"] else f"{_figure(summary['parity'][figure])} ({_data(folder)})"


def _data(folder: Path) -> str:
    """Whether real or simulated, and how much of it was learned from: a short trial is no match for a full run."""
    summary = read_summary(folder)
    rows, epochs = summary.get("rows", "?"), max(summary["epochs"])
    return f"{summary['source']['origin']}, {rows} stamps, {epochs} epoch{'s' * (epochs > 1)}"


def _figure(value: float) -> str:
    return f"{value:.{_digits(value)}f}"


def _digits(value: float) -> int:
    return 2 if value >= 1 else 6
