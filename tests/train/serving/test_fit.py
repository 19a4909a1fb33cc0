"""From training to serving: the same stamps, latents and probabilities, and a run that ends in a checkpoint."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from consumer.decoding.alert import Alert, read_alerts
from consumer.decoding.packet import PacketReader
from consumer.decoding.stamps import cut_stamps
from consumer.inference.models import Inference
from model_zoo.checkpoint import WEIGHTS, Checkpoint, load, save
from model_zoo.metadata import COLUMNS, metadata_input
from model_zoo.preprocess import encoder_input
from tests.conftest import random_checkpoint
from train.data.alert_table import FIELDS, AlertTable, read_alert_table
from train.data.labels import labels_beside
from train.experiments.catalogue import read_experiment
from train.experiments.experiment import ExperimentError, changed
from train.serving.card import card_table
from train.serving.inputs import find_inputs
from train.serving.run import export, run_serving

PACKETS = 40


@pytest.fixture(scope="module")
def few(real_alerts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty real alerts spread over the archive, as an archive of their own with the table of labels beside it."""
    folder = tmp_path_factory.mktemp("few")
    with tarfile.open(real_alerts / "labelled.tar.gz") as whole, tarfile.open(folder / "few.tar.gz", "w:gz") as part:
        members = whole.getmembers()
        for member in members[:: len(members) // PACKETS]:
            part.addfile(member, whole.extractfile(member))
    (folder / "labels.csv").write_bytes((real_alerts / "labels.csv").read_bytes())
    return folder / "few.tar.gz"


@pytest.mark.parametrize("name", sorted(path.parent.name for path in WEIGHTS.glob("*/model.json")))
def test_training_and_serving_see_the_same_stamps_latents_and_probabilities(name: str, few: Path) -> None:
    checkpoint = load(WEIGHTS / name)
    settings = checkpoint.preprocessing
    table, refused = read_alert_table([few], {}, settings.size)
    assert not refused
    served = Inference(checkpoint, torch.device("cpu"))
    reader = PacketReader(checkpoint.mlp.config.fields)
    with tarfile.open(few) as archive:
        payloads = [archive.extractfile(member).read() for member in archive]  # type: ignore[union-attr]
    alerts = [one for payload in payloads for one in read_alerts(payload, 1 << 26, reader) if isinstance(one, Alert)]
    alerts.sort(key=lambda alert: (alert.jd, alert.candid))
    cuts = [cut_stamps(alert, settings, 1 << 26).pixels for alert in alerts]
    np.testing.assert_array_equal(np.stack(cuts), table.stamps)
    latents, probabilities = served.encode(cuts, [alert.metadata for alert in alerts])
    with torch.inference_mode():
        trained = checkpoint.encoder(torch.from_numpy(encoder_input(table.stamps, settings)))
        predictions = checkpoint.mlp(trained, seen_in_training(checkpoint, table)).softmax(1)
    np.testing.assert_allclose(latents, trained.numpy(), atol=1e-4)
    np.testing.assert_allclose(probabilities, predictions.numpy(), atol=1e-4)


def seen_in_training(checkpoint: Checkpoint, table: AlertTable) -> torch.Tensor | None:
    """The head's columns, from the values that training reads: those of all columns that there are."""
    columns = checkpoint.mlp.config.metadata
    if not columns:
        return None
    values = table.metadata[:, [FIELDS.index(field) for field in checkpoint.mlp.config.fields]]
    return torch.from_numpy(metadata_input(values, columns))


def test_a_run_is_exported_under_the_name_of_its_folder(tmp_path: Path) -> None:
    save(random_checkpoint(), tmp_path / "run" / "checkpoint")
    exported = export(tmp_path / "run", tmp_path / "weights" / "mine")
    assert exported.name == "mine"
    assert exported.model_id == random_checkpoint().model_id
    with pytest.raises(ExperimentError, match="holds no checkpoint that serves"):
        export(tmp_path, tmp_path / "weights" / "other")


def test_archives_are_real_or_simulated_by_what_lies_beside_them(tmp_path: Path) -> None:
    for name in ("real/a.tar.gz", "sky/b.tar.gz", "sky/b.truth.parquet", "sky/c.tar.gz", "sky/c.truth.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_inputs([tmp_path / "real", tmp_path / "sky"])
    assert [path.name for path in found.real] == ["a.tar.gz"]
    assert [[path.name for path in sky] for sky in found.skies] == [["b.tar.gz", "c.tar.gz"]]
    with pytest.raises(ExperimentError, match="no archive of alerts in"):
        find_inputs([tmp_path])


def test_alerts_without_labels_are_named(few: Path, tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    alone = tmp_path / "deep" / "er" / "alone.tar.gz"
    alone.write_bytes(few.read_bytes())
    with pytest.raises(ExperimentError, match=r"put labels\.csv"):
        run_serving(read_experiment("estampa-serve")[0], [alone], tmp_path / "run")


def test_a_label_outside_the_classes_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("candid,label\n1,SN\n2,nova\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"labels\.csv:3: label 'nova' is none of AGN"):
        labels_beside(tmp_path / "a.tar.gz")


def test_two_folds_are_too_few_to_choose_and_to_score(few: Path, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="folds=2: input should be greater than or equal to 3"):
        run_serving(read_experiment("estampa-serve", ["folds=2"])[0], [few], tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_short_training_ends_in_two_checkpoints_that_load_and_goes_on_where_it_was(
    real_alerts: Path, tmp_path: Path
) -> None:
    short = changed(
        read_experiment("estampa-serve")[0],
        {"steps": 60, "head_steps": 100, "search": 10, "folds": 3, "teachers": 1, "metadata": "true"},
    )
    run_serving(short, [real_alerts / "labelled.tar.gz"], tmp_path, umap=False)
    drawn = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert {"confusion_mlp", "confusion_fused", "real_sequences", "learning_encoder", "learning_member"} <= drawn
    images, both = load(tmp_path / "checkpoint"), load(tmp_path / "metadata" / "checkpoint")
    assert images.encoder_id == both.encoder_id
    assert len(both.mlp.config.metadata) == len(COLUMNS)
    held = images.metadata["held_out"]
    assert held["mlp_first_alert"]["f1"] > 0.4
    assert both.metadata["held_out"]["mlp_first_alert"]["f1"] > 0.7
    classifiers = ("mlp", "eight_views", "teachers", "recurrent", "mean")
    assert {name for name in held if name.endswith("_alert")} == {
        f"{classifier}_{which}_alert" for classifier in classifiers for which in ("first", "every")
    }
    assert "mlp_first_alert" in card_table(images)
    fitted = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "encoders").iterdir()}
    again = run_serving(short, [real_alerts / "labelled.tar.gz"], tmp_path, umap=False)
    assert [one.model_id for one in again] == [images.model_id, both.model_id]
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "encoders").iterdir()} == fitted
