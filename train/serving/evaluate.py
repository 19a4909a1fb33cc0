"""How well a checkpoint that serves does on labelled alerts that it has not seen: `estampa-train score`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo.checkpoint import Checkpoint
from model_zoo.metadata import metadata_input
from model_zoo.preprocess import Preprocessing, encoder_input
from train.data.alert_table import FIELDS, AlertTable, joined
from train.experiments.experiment import ExperimentError
from train.reporting.tables import TextTable, length_table
from train.serving.dataset import Sequences, ServingDataset, build_dataset, marked, prefixes
from train.serving.fit import Models, ServingConfig, fit_heads
from train.serving.heads import mean_of_alerts, mlp_logits, recurrent_logits, trimmed, view_latents
from train.serving.inputs import find_inputs, read_archives
from train.serving.model_selection import Probabilities, predictions
from train.training.scores import LENGTHS, Scores, bootstrap_interval, f1_by_length, score

ROWS_AT_ONCE: Final = 64
SEQUENCES_AT_ONCE: Final = 4096


@dataclass(frozen=True, slots=True)
class ModelScores:
    """A checkpoint's predictions. sequences: S, one for each labelled alert. The rest: (S, classes) probabilities."""

    table: AlertTable
    sequences: Sequences
    single: NDArray[np.float64]
    sequence: NDArray[np.float64]
    mean: NDArray[np.float64]

    @property
    def label(self) -> NDArray[np.int64]:
        return self.sequences.label.numpy()

    @property
    def first(self) -> NDArray[np.bool_]:
        """(S,): whether a sequence ends in the first alert of its object."""
        found: NDArray[np.bool_] = self.table.first_of_object[self.sequences.last_rows.numpy()]
        return found


def score_checkpoint(checkpoint: Checkpoint, archives: Sequence[Path]) -> str:
    """A Markdown report of a checkpoint's predictions on labelled alerts of archives, real and simulated ones apart.

    Raises ExperimentError where no alert has a label.
    """
    lines = [f"# {checkpoint.name} ({checkpoint.model_id}) on {', '.join(map(str, archives))}"]
    for origin, table in read_labelled(archives, checkpoint.preprocessing.size).items():
        lines += ["", *_section(predicted(checkpoint, table), origin)]
    return "\n".join([*lines, ""])


def read_labelled(archives: Sequence[Path], size: int) -> dict[str, AlertTable]:
    """The alerts of archives with the labels that lie beside them, by origin, real and simulated; none without any."""
    files = find_inputs(archives)
    if files.stamps:
        raise ExperimentError(f"{files.stamps[0]} is a set of stamps; archives of alerts are scored")
    skies = [marked(read_archives(sky, size), f"sky {place} ") for place, sky in enumerate(files.skies)]
    parts = {"real": [read_archives(files.real, size)] if files.real else [], "simulated": skies}
    tables = {origin: joined(some) for origin, some in parts.items() if any(one.labelled.any() for one in some)}
    if not tables:
        raise ExperimentError(
            f"no alert of {', '.join(map(str, archives))} has a label: put labels.csv (candid, label) beside it"
        )
    return tables


def predicted(checkpoint: Checkpoint, table: AlertTable) -> ModelScores:
    """A checkpoint's predictions for every labelled alert, alone and at the end of its object's sequence so far."""
    sequences = prefixes(table)
    inputs = torch.from_numpy(encoder_input(table.stamps, checkpoint.preprocessing))
    seen = _metadata(checkpoint, table)
    with torch.inference_mode():
        latents = torch.cat([checkpoint.encoder(part) for part in inputs.split(ROWS_AT_ONCE)])
        every = checkpoint.mlp(latents, seen).double().softmax(1)
    return ModelScores(
        table=table,
        sequences=sequences,
        single=every[sequences.last_rows].numpy(),
        sequence=_sequence_logits(checkpoint, latents.clone(), sequences).double().softmax(1).numpy(),
        mean=mean_of_alerts(every, sequences).numpy(),
    )


def _metadata(checkpoint: Checkpoint, table: AlertTable) -> torch.Tensor | None:
    config = checkpoint.mlp.config
    places = [FIELDS.index(name) for name in config.fields]
    return torch.from_numpy(metadata_input(table.metadata[:, places], config.metadata)) if config.metadata else None


def _sequence_logits(checkpoint: Checkpoint, latents: torch.Tensor, sequences: Sequences) -> torch.Tensor:
    parts = torch.arange(len(sequences)).split(SEQUENCES_AT_ONCE)
    return torch.cat([recurrent_logits(checkpoint.recurrent, latents, trimmed(sequences.only(part))) for part in parts])


def _section(scored: ModelScores, origin: str) -> list[str]:
    names = scored.table.object_id[scored.sequences.last_rows.numpy()]
    rows: list[tuple[str, ...]] = [("classifier", "on", "alerts", "macro-F1 (95 %)", "accuracy", "calibration error")]
    every = np.ones_like(scored.first)
    for name, probability in (("single alert", scored.single), ("sequence", scored.sequence)):
        for chosen, on in ((scored.first, "first alert of each object"), (every, "every alert")):
            rows.append((name, on, *_cells(scored.label[chosen], probability[chosen], names[chosen])))
    by_length = {"sequence": scored.sequence, "mean of the alerts": scored.mean}
    found = f1_by_length(scored.sequences.lengths.numpy(), scored.label, by_length)
    return [
        f"{len(scored.label):,} labelled **{origin}** alerts of {len(np.unique(names)):,} objects.",
        "",
        TextTable("", rows, texts=2).markdown(),
        "",
        "Macro-F1 by number of alerts:",
        "",
        length_table("", found).markdown(),
    ]


def _cells(label: NDArray[np.int64], probability: NDArray[np.float64], names: NDArray[np.str_]) -> tuple[str, ...]:
    """The interval is over objects, drawn whole."""
    found: Scores = score(label, probability)
    group = np.unique(names, return_inverse=True)[1]
    low, high = bootstrap_interval(label, probability, np.random.default_rng(1), group)
    shown = f"{found.f1:.3f} ({low:.3f} … {high:.3f})"
    return f"{len(label):,}", shown, f"{found.accuracy:.3f}", f"{found.calibration_error:.3f}"


@dataclass(frozen=True, slots=True)
class HoldoutSplit:
    """Row by row, in the set's order; of a row of several stamps, after its last. label: (N,) int64.

    probabilities: (N, classes) by classifier. classifier: the head made for such rows. inputs: (N, C * S * S) of the
    last stamp. latents: (N, L) of it.
    """

    label: NDArray[np.int64]
    probabilities: Probabilities
    classifier: str
    inputs: NDArray[np.float32]
    latents: NDArray[np.float32]

    @property
    def scores(self) -> dict[str, Scores]:
        return {classifier: score(self.label, probability) for classifier, probability in self.probabilities.items()}


def evaluate_holdout(
    models: Models, holdout: Mapping[str, AlertTable], preprocessing: Preprocessing
) -> dict[str, HoldoutSplit]:
    """The predictions of the calibrated heads that see images, for each split."""
    return {split: _holdout_split(models, some, preprocessing) for split, some in holdout.items()}


def _holdout_split(models: Models, some: AlertTable, preprocessing: Preprocessing) -> HoldoutSplit:
    alerts = build_dataset(some, [], preprocessing)
    last = alerts.sequences.last_rows.numpy()
    _, from_the_end = np.unique(alerts.table.key[::-1], return_index=True)
    rows = np.argsort(last)[np.sort(len(last) - 1 - from_the_end)]  # every alert has a label, hence a sequence
    logits_of = predictions(models, alerts, rows)
    inputs = alerts.inputs[torch.from_numpy(last[rows])]
    return HoldoutSplit(
        label=alerts.sequences.label.numpy()[rows],
        probabilities={classifier: logits.double().softmax(1).numpy() for classifier, logits in logits_of.items()},
        classifier="recurrent" if int(alerts.sequences.lengths.max()) > 1 else "mlp",
        inputs=inputs.flatten(1).numpy(),
        latents=view_latents(models.encoder, inputs, (0,))[:, 0].numpy(),
    )


def sequence_scores(
    models: Models, alerts: ServingDataset, held: NDArray[np.bool_], serving: ServingConfig
) -> dict[str, dict[str, float]]:
    """Macro-F1 after 1, 2, 3, 5 and 10 alerts of held-out simulated objects, beside two baselines to beat.

    `mean of alerts` averages the MLP's probabilities of the same alerts. `times only` is a recurrent head fitted on
    latents set to zero: it sees how many alerts there are, when, and in which band.
    """
    latents = view_latents(models.encoder, alerts.inputs, (0,))
    blind = torch.zeros_like(latents)
    learnt = torch.from_numpy(np.flatnonzero(~held))
    _, times, _ = fit_heads(blind, alerts, learnt, serving, serving.generator)
    some = alerts.sequences.only(torch.from_numpy(held) & torch.isin(alerts.sequences.lengths, torch.tensor(LENGTHS)))
    if not len(some):
        return {}
    some = trimmed(some)
    alone = mlp_logits(models.mlp, latents[:, 0]).softmax(1)
    probabilities = {
        "recurrent": recurrent_logits(models.recurrent, latents[:, 0], some).double().softmax(1).numpy(),
        "mean of alerts": mean_of_alerts(alone, some).numpy(),
        "times only": recurrent_logits(times, blind[:, 0], some).double().softmax(1).numpy(),
    }
    return f1_by_length(some.lengths.numpy(), some.label.numpy(), probabilities)
