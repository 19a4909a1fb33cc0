"""`estampa-train score`: what a checkpoint answers on labelled alerts, against what the service and the truth say."""

import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import f1_score
from typer.testing import CliRunner

from consumer.inference.models import Inference
from model_zoo.checkpoint import Checkpoint, save
from tests.conftest import random_checkpoint
from train.cli.experiments import app
from train.data.alert_table import FIELDS
from train.experiments.experiment import ExperimentError
from train.serving.dataset import prefixes
from train.serving.evaluate import ModelScores, predicted, read_labelled, score_checkpoint
from train.simulation.nights.night import NightRequest, write_night
from train.simulation.nights.sink import TarSink
from train.training.scores import LENGTHS, bootstrap_interval

COLUMNS = ("magpsf", "distnr")


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two nights of one simulated sky, a truth table beside each."""
    folder = tmp_path_factory.mktemp("sky")
    for day in (1, 4):
        archive = folder / f"night{day}.tar.gz"
        mix = {"AGN": 0.3, "SN": 0.2, "VS": 0.3, "asteroid": 0.1, "bogus": 0.1}
        request = NightRequest(date(2026, 1, day), alerts=150, seed=3, mix=mix)
        write_night(request, TarSink(archive), folder / f"night{day}.truth.parquet", 1)
    return folder


@pytest.fixture(scope="module")
def classifier() -> Checkpoint:
    return random_checkpoint(metadata=COLUMNS)


@pytest.fixture(scope="module")
def scored(nights: Path, classifier: Checkpoint) -> ModelScores:
    return predicted(classifier, read_labelled([nights], classifier.preprocessing.size)["simulated"])


def test_an_alert_alone_is_answered_as_the_service_answers_it(scored: ModelScores, classifier: Checkpoint) -> None:
    last = scored.sequences.last_rows.numpy()
    places = [FIELDS.index(name) for name in classifier.mlp.config.fields]
    values = [tuple(row) for row in scored.table.metadata[last][:, places]]
    _, probabilities = Inference(classifier, torch.device("cpu")).encode(list(scored.table.stamps[last]), values)
    np.testing.assert_allclose(scored.single, probabilities, atol=1e-4)


def test_the_mean_of_one_alert_is_that_alert_and_of_two_their_mean(scored: ModelScores) -> None:
    lengths, rows = scored.sequences.lengths.numpy(), scored.sequences.rows.numpy()
    of_row = dict(zip(scored.sequences.last_rows.tolist(), scored.single, strict=True))
    assert (lengths == 2).any()
    for place in np.flatnonzero(lengths <= 2):
        alone = [of_row[row] for row in rows[place, : lengths[place]]]
        np.testing.assert_allclose(scored.mean[place], np.mean(alone, axis=0), atol=1e-6)


def test_the_report_says_what_scikit_learn_says_of_the_truth(nights: Path, scored: ModelScores, tmp_path: Path) -> None:
    save(random_checkpoint(metadata=COLUMNS), tmp_path)
    answer = CliRunner().invoke(app, ["score", str(tmp_path), "--data", str(nights)])
    assert answer.exit_code == 0, answer.output
    truth = [row for table in sorted(nights.glob("*.parquet")) for row in pq.read_table(table).to_pylist()]
    true = {row["candid"]: row["class"] for row in truth}
    names = np.array(random_checkpoint().classes)
    candids = scored.table.candid[scored.sequences.last_rows.numpy()]
    expected = f1_score([true[one] for one in candids.tolist()], names[scored.single.argmax(1)], average="macro")
    (line,) = [line for line in answer.output.splitlines() if line.startswith("| single alert | every alert")]
    assert f"| {len(true)} | {expected:.3f} (" in line


def test_the_report_has_a_line_for_each_length_that_there_is(
    nights: Path, scored: ModelScores, classifier: Checkpoint
) -> None:
    lengths = scored.sequences.lengths.numpy()
    table = score_checkpoint(classifier, [nights]).split("Macro-F1 by number of alerts:")[1]
    rows = [line.split(" | ")[:2] for line in table.splitlines()[4:] if line]
    expected = [[f"| {length}", f"{(lengths == length).sum():,}"] for length in LENGTHS if (lengths == length).any()]
    assert len(expected) > 1
    assert rows == expected


def test_two_skies_share_no_sequence(nights: Path, scored: ModelScores, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(nights, other)
    both = read_labelled([nights, other], 21)["simulated"]
    assert len(both) == 2 * len(scored.table)
    assert prefixes(both).lengths.max() == scored.sequences.lengths.max()
    assert both.first_of_object.sum() == 2 * scored.table.first_of_object.sum()


def test_real_alerts_and_simulated_ones_are_scored_apart(nights: Path, classifier: Checkpoint, tmp_path: Path) -> None:
    """A simulated night whose truth table became a labels.csv is taken for real ones."""
    shutil.copy(nights / "night1.tar.gz", tmp_path)
    truth = pq.read_table(nights / "night1.truth.parquet").to_pylist()
    rows = [f"{row['candid']},{row['class']}" for row in truth]
    (tmp_path / "labels.csv").write_text("\n".join(["candid,label", *rows]))
    report = score_checkpoint(classifier, [nights, tmp_path])
    alone = [score_checkpoint(classifier, [folder]).split("\n", 1)[1] for folder in (tmp_path, nights)]
    assert report.split("\n", 1)[1] == "".join(alone)
    assert f"{len(truth)} labelled **real** alerts" in alone[0]
    assert "labelled **simulated** alerts" in alone[1]


def test_the_interval_of_every_alert_draws_objects_whole(
    nights: Path, scored: ModelScores, classifier: Checkpoint
) -> None:
    group = np.unique(scored.table.object_id[scored.sequences.last_rows.numpy()], return_inverse=True)[1]
    assert len(set(group)) < len(group)
    low, high = bootstrap_interval(scored.label, scored.single, np.random.default_rng(1), group)
    assert f"({low:.3f} … {high:.3f})" in score_checkpoint(classifier, [nights])


def test_alerts_without_labels_and_models_that_are_not_there_are_one_line(nights: Path, tmp_path: Path) -> None:
    alone = tmp_path / "deep" / "er"
    alone.mkdir(parents=True)
    (alone / "night.tar.gz").write_bytes((nights / "night1.tar.gz").read_bytes())
    with pytest.raises(ExperimentError, match=r"has a label: put labels\.csv"):
        read_labelled([alone], 21)
    (tmp_path / "stamps.npz").touch()
    with pytest.raises(ExperimentError, match="is a set of stamps; archives of alerts are scored"):
        read_labelled([tmp_path / "stamps.npz"], 21)
    missing = CliRunner().invoke(app, ["score", "nobody", "--data", str(nights)])
    assert missing.exit_code == 2
    assert "error: no checkpoint at 'nobody'" in missing.stderr
