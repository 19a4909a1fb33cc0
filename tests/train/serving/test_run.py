"""A run of `estampa-serve` on a set of stamps: what it leaves, what it tells, and that its weights serve."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from consumer.inference.models import Inference
from model_zoo.checkpoint import load
from tests.support.arrays import read_arrays
from tests.train.cli.test_experiments import invoke
from tests.train.seeds import sequences, single, write
from train.baselines.compare import comparison, lines_to_beat
from train.experiments.catalogue import read_experiment
from train.experiments.experiment import Experiment, ExperimentError
from train.serving import run
from train.serving.encoder import EncoderTraining, Examples, fit_encoder
from train.serving.fit import ServingConfig
from train.serving.heads import HeadTraining
from train.serving.run import run_serving

WHOLE = run.serving_of


def quick(experiment: Experiment, normalisation: str = "noise") -> ServingConfig:
    encoder, heads = EncoderTraining(steps=experiment.steps, batch=16), HeadTraining(steps=60, batch=16)
    return replace(WHOLE(experiment, normalisation), encoder=encoder, heads=heads)


@pytest.fixture(scope="module")
def short() -> Experiment:
    return read_experiment("estampa-serve", ["steps=60", "folds=3", "teachers=0", "search=10"])[0]


@pytest.fixture(scope="module")
def out(short: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on a small simulated pickle."""
    out = tmp_path_factory.mktemp("runs")
    data = write(out / "stamp_dataset_21_new.pkl", single())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "serving_of", quick)
        run_serving(short, [data], out / "estampa-serve", origin="simulated", umap=False)
    return out


def test_the_folder_is_that_of_any_other_run(out: Path) -> None:
    folder = out / "estampa-serve"
    files = {"config.json", "environment.json", "data.json", "metrics.jsonl", "summary.json", "predictions.npz"}
    assert files | {"table.md", "report.html", "checkpoint", "figures"} <= {path.name for path in folder.iterdir()}
    assert not (folder / "metadata").exists()
    data = json.loads((folder / "data.json").read_text())
    assert (data["name"], data["origin"]) == ("stamp_dataset_21_new.pkl", "simulated")
    assert data["stamps"][0]["stamps"] == {"train": 60, "validation": 15, "test": 15}
    page = (folder / "report.html").read_text()
    assert "stamp_dataset_21_new.pkl (simulated)" in page
    assert page.count("data:image/png;base64,") == len(list((folder / "figures").iterdir())) == 15


def test_every_fit_has_its_line_with_its_losses(out: Path) -> None:
    lines = [json.loads(line) for line in (out / "estampa-serve" / "metrics.jsonl").read_text().splitlines()]
    fits = [line for line in lines if "loss" in line]
    assert [line["without_folds"] for line in fits if line["stage"] == "fold"] == [[1], [1], [2], [2], [3], [3]]
    assert {name for line in fits for name in line["loss"]} == {"encoder", "mlp", "recurrent"}
    assert all([step for step, _ in curve] == [50, 60] for line in fits for curve in line["loss"].values())
    assert all(line["normalisation"] == "minmax" for line in fits if "encoder" in line["loss"])
    assert [sorted(line["scores"]) for line in lines if "scores" in line] == [
        ["eight_views", "mean", "mlp", "recurrent"]
    ] * 3


def test_a_run_that_fits_nothing_again_tells_the_same(out: Path, short: Experiment, tmp_path: Path) -> None:
    folder, before = out / "estampa-serve", (out / "estampa-serve" / "metrics.jsonl").read_text()
    fitted = {path: path.stat().st_mtime_ns for path in (folder / "encoders").iterdir()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "serving_of", quick)
        run_serving(short, [out / "stamp_dataset_21_new.pkl"], folder, origin="simulated", umap=False)
    assert (folder / "metrics.jsonl").read_text() == before
    assert {path: path.stat().st_mtime_ns for path in (folder / "encoders").iterdir()} == fitted


def test_a_folder_with_a_run_on_other_data_is_refused_and_overwrite_begins_anew(
    out: Path, short: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "serving_of", quick)
    data, folder = out / "stamp_dataset_21_new.pkl", tmp_path / "estampa-serve"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "data.json").write_text(json.dumps({"fingerprint": "of other stamps", "origin": "simulated"}))
    with pytest.raises(ExperimentError, match="holds a run with fingerprint = 'of other stamps'"):
        run_serving(short, [data], folder, origin="simulated", umap=False)
    (folder / "of the run before").touch()
    run_serving(short, [data], folder, origin="simulated", umap=False, overwrite=True)
    assert not (folder / "of the run before").exists()
    assert (folder / "summary.json").is_file()


def test_the_sets_own_test_is_scored_at_the_end_in_its_order_and_under_its_origin(out: Path) -> None:
    folder = out / "estampa-serve"
    table = (folder / "table.md").read_text()
    assert "Validation and test of the sets of stamps (simulated data)" in table
    assert "Simulated alerts, by object, nested:" in table
    kept = read_arrays(folder / "predictions.npz")
    np.testing.assert_array_equal(kept["test_label"], single()["Test"]["class"])
    right = (kept["test_probability"].argmax(1) == kept["test_label"]).mean()
    card = load(folder / "checkpoint").metadata["held_out"]
    assert card["test_mlp"]["accuracy"] == pytest.approx(right, abs=1e-4)
    assert len(kept["held_label"]) == len(kept["held_mlp_probability"]) == 60
    np.testing.assert_allclose(kept["held_mlp_probability"].sum(1), 1)


def test_it_answers_three_lines_of_the_scoreboard_and_can_be_compared(out: Path) -> None:
    ours = {row[0]: row[2] for row in lines_to_beat(out).body if row[2] != "—"}
    assert [re.match(r"joint|end-to-end|supervised", line).group() for line in ours] == [  # type: ignore[union-attr]
        "joint", "end-to-end", "supervised",
    ]  # fmt: skip
    assert all(shown.endswith("(simulated, 60 stamps, 16 epochs)") for shown in ours.values())
    assert ours["end-to-end cross entropy (seed 000), test accuracy"].startswith("estampa-serve: ")
    assert comparison([out / "estampa-serve"]).row_count == 1


def test_what_was_exported_serves(out: Path, tmp_path: Path) -> None:
    found = invoke("export", out / "estampa-serve", "--to", tmp_path / "mine")
    assert found.exit_code == 0, found.output
    checkpoint = load(tmp_path / "mine")
    assert checkpoint.preprocessing.normalisation == "minmax"
    served = Inference(checkpoint, torch.device("cpu"))
    images = single()["Test"]["images"][:, :, :, [1, 2, 0]].transpose(0, 3, 1, 2)
    _, probabilities = served.encode(list(np.ascontiguousarray(images)), [()] * len(images))
    kept = read_arrays(out / "estampa-serve" / "predictions.npz")
    np.testing.assert_allclose(probabilities, kept["test_probability"], atol=1e-4)


def test_what_no_example_told_of_times_and_bands_moves_no_answer(out: Path) -> None:
    recurrent = load(out / "estampa-serve" / "checkpoint").recurrent
    latents = torch.rand(1, 3, recurrent.config.latent)
    jd, lengths = torch.tensor([[2461000.5, 2461001.5, 2461030.5]], dtype=torch.float64), torch.tensor([3])
    predictions = [
        recurrent(latents, jd * far, torch.tensor([bands]), lengths) for far, bands in ((1, [1, 2, 1]), (0, [3, 3, 3]))
    ]
    torch.testing.assert_close(*predictions)


def test_sequences_of_three_classes_are_scored_after_their_last_stamp(
    short: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "serving_of", quick)
    data = write(tmp_path / "5stamps_dataset.pkl", sequences())
    (tmp_path / "run" / "metadata" / "checkpoint").mkdir(parents=True)
    [made] = run_serving(short, [data], tmp_path / "run", umap=False)
    assert not (tmp_path / "run" / "metadata").exists()  # it was of another run
    held = made.metadata["held_out"]
    assert list(held["real_sequences"]) == ["1", "2", "3", "5"]
    assert len(read_arrays(tmp_path / "run" / "predictions.npz")["test_label"]) == 15
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["parity"]["test_accuracy"] == pytest.approx(100 * held["test_recurrent"]["accuracy"])
    assert summary["source"]["origin"] == "unstated"
    assert summary["unlike"] == "the test has no asteroid and no bogus"  # so that no line of five classes is answered
    assert "Unstated alerts, by object, nested:" in (tmp_path / "run" / "table.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tensorboard"], "--tensorboard: estampa-serve writes its losses to metrics.jsonl alone"),
        pytest.param(
            ["--device", "cuda"],
            "no CUDA device is visible",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is visible"),
        ),
    ],
)
def test_what_it_cannot_do_is_refused_in_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    data = write(tmp_path / "stamp_dataset_21_new.pkl", single())
    found = invoke("run", "estampa-serve", "--data", data, "--out", tmp_path / "out", *arguments)
    assert found.exit_code == 2
    assert message in found.output
    assert not (tmp_path / "out").exists()


def fitted_on(device: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    stamps = torch.rand(30, 3, 9, 9, generator=torch.Generator().manual_seed(2))
    examples = Examples(stamps, torch.eye(5)[torch.arange(30) % 5], torch.ones(30))
    config, training = ServingConfig().config, EncoderTraining(steps=4, batch=8, dropout=0.0)
    small = replace(config, size=9, latent=4)
    model, _ = fit_encoder(examples, small, training, torch.Generator().manual_seed(3), torch.device(device))
    return model.state_dict()


def test_every_step_of_a_fit_is_made_on_the_device_that_is_named() -> None:
    with pytest.raises(RuntimeError, match="meta tensor"):  # which holds no data to bring back
        fitted_on("meta")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_an_encoder_fitted_on_a_gpu_comes_back_alike() -> None:
    here, there = fitted_on("cpu"), fitted_on("cuda")
    for name, tensor in here.items():
        assert there[name].device.type == "cpu"
        torch.testing.assert_close(there[name], tensor, rtol=1e-2, atol=1e-3)
