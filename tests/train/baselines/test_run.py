"""Every experiment, at a small scale, from data to its folder."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from model_zoo.baselines.autoencoder import Vae
from tests.train.seeds import single, write
from train.baselines.dataset import prepare
from train.baselines.fit import reconstruction_losses
from train.baselines.report import markdown, table_rows
from train.baselines.run import reference_figures, run
from train.cli.experiments import app
from train.data.stamp_set import StampSet, StampSource
from train.experiments.catalogue import names, read_experiment
from train.experiments.experiment import ExperimentError, changed
from train.training.loop import TrainingProgress, Watch
from train.training.scores import score

SMALL = ["epochs=1", "probe_epochs=1", "seeds=1", "rows=15"]
TRAINED = [name for name in names() if name != "estampa-serve"]


@pytest.mark.parametrize("name", TRAINED)
def test_every_experiment_runs_to_its_end(name: str, sets: dict[str, StampSet], tmp_path: Path) -> None:
    plain = read_experiment(name)
    settings = SMALL + (["pretrain_epochs=1"] if getattr(plain[0], "pretrain_epochs", 0) else [])
    for experiment in read_experiment(name, settings):
        tensors = prepare(sets[experiment.layout], experiment, torch.device("cpu"))
        summary = run(experiment, tensors, StampSource("test", "0"), tmp_path / experiment.run).summary
        assert set(experiment.reference) <= set(summary["parity"])
        assert 0 <= summary["honest"]["test"]["f1"]["mean"] <= 1
        assert (tmp_path / experiment.run / "seed-1" / "metrics.jsonl").read_text(encoding="utf-8").count("\n") == 1


def test_the_command_leaves_one_folder_to_read_and_says_that_the_data_was_simulated(tmp_path: Path) -> None:
    data = write(tmp_path / "stamp_dataset_21_new.pkl", single())
    sets = [part for setting in SMALL for part in ("--set", setting)]
    arguments = ["run", "ae", "--data", str(data), "--out", str(tmp_path), "--origin", "simulated", "--no-umap"]
    found = CliRunner().invoke(app, arguments + sets)
    assert found.exit_code == 0, found.output
    folder = tmp_path / "ae"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 6
    assert not re.search(r"""(src|href)=["'](?!data:)|url\(|@import""", page)
    for shown in ("k-means", "Gaussian mixture", "Test, by class", "Learned from 15 simulated stamps in 1 epoch."):
        assert shown in page
    assert "(simulated)" in page
    assert "| reference protocol: recall % |" in (folder / "table.md").read_text(encoding="utf-8")
    assert "ours (simulated data)" in (folder / "table.md").read_text(encoding="utf-8")
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["epochs"] == 1


def test_the_error_of_a_vae_is_without_its_divergence(sets: dict[str, StampSet], tmp_path: Path) -> None:
    experiment = read_experiment("vae", [*SMALL, "epochs=2"])[0]
    tensors = prepare(sets[experiment.layout], experiment, torch.device("cpu"))
    outcome = run(experiment, tensors, StampSource("test", "0"), tmp_path)
    found, records = outcome.summary["parity"], outcome.fit.progress.records
    assert found["divergence"] > 0
    assert found["mse"] + found["divergence"] == pytest.approx(np.mean([one["train"] for one in records]))
    vae = outcome.fit.model
    assert isinstance(vae, Vae)
    stamps = tensors.validation.stamps
    error, apart = reconstruction_losses(vae, stamps, "mse")
    assert float(error) == pytest.approx(float((vae(stamps)[0] - stamps).square().mean()))
    best = min(one["validation"] for one in records)
    assert float(error + apart) == pytest.approx(best)


def test_parity_is_of_the_checkpoint_that_the_experiment_names(sets: dict[str, StampSet], tmp_path: Path) -> None:
    """The last weights are made to answer the first class, the best ones the second; the truth is the first."""
    experiment = read_experiment("clasificador-v1", SMALL)[0]
    tensors = prepare(sets[experiment.layout], experiment, torch.device("cpu"))
    fit = run(experiment, tensors, StampSource("test", "0"), tmp_path).fit
    state = torch.load(fit.folder / "last.pt")
    for name in state["model"]:
        state["model"][name].zero_()
    torch.save(state, fit.folder / "last.pt")
    *_, bias = fit.model.parameters()
    bias.data[1] = 1e6
    first = replace(tensors, test=replace(tensors.test, label=torch.zeros_like(tensors.test.label)))
    for checkpoint, accuracy in (("last", 100.0), ("best", 0.0)):
        assert (
            reference_figures(changed(experiment, {"checkpoint": checkpoint}), first, fit)[0]["test_accuracy"]
            == accuracy
        )
    assert read_experiment("recurrent")[0].checkpoint == "last"


@pytest.mark.parametrize(
    ("name", "layout", "settings", "reason"),
    [
        ("ae-latent", "stamp_dataset_21_new", [], ""),
        ("ae-latent", "stamp_dataset_21_new", ["seed=7", "mixed=true"], ""),
        ("ae-latent", "stamp_dataset_21_new", ["latent=5"], "latent is 5, not 10"),
        ("ae-latent", "stamp_dataset_21_new", ["variant=x"], "ae-latent-x is none of the experiment's own"),
        ("ae-latent", "stamp_dataset_21_new", ["name=mine"], "no experiment is called 'mine'"),
        ("ae", "5stamps_dataset", [], "the classes are AGN, SN, VS, not AGN, SN, VS, asteroid, bogus"),
        ("staged", "recurrent_dataset", ["size=21"], "the sequences are of 3 stamps, not 5"),
        ("staged", "5stamps_dataset", [], ""),
        ("staged", "5stamps_dataset", ["pretrain_epochs=0"], "pretrain_epochs is 0, not 300"),
    ],
)
def test_a_seed_s_figure_stands_only_beside_its_own_settings_and_data(
    name: str, layout: str, settings: list[str], reason: str, sets: dict[str, StampSet], tmp_path: Path
) -> None:
    shortened = [] if "pretrain_epochs=0" in settings or not name.endswith("staged") else ["pretrain_epochs=1"]
    experiment = read_experiment(name, [*SMALL, *shortened, *settings])[0]
    tensors = prepare(sets[layout], experiment, torch.device("cpu"))
    outcome = run(experiment, tensors, StampSource("test", "0", "simulated"), tmp_path)
    summary = outcome.summary
    assert summary["unlike"].startswith(reason)
    assert bool(summary["unlike"]) == bool(reason)
    assert summary["reference"] == ({} if reason else experiment.reference)
    text = markdown(table_rows(summary), summary)
    assert (f"No figure of the seed stands beside: {reason}" in text) == bool(reason)
    assert any(
        line.startswith("| reference protocol:") and not line.endswith("| — | — |") for line in text.splitlines()
    ) != bool(reason)


def test_predictions_of_every_seed_are_kept(sets: dict[str, StampSet], tmp_path: Path) -> None:
    experiment = read_experiment("clasificador-v1", [*SMALL, "seeds=2"])[0]
    tensors = prepare(sets[experiment.layout], experiment, torch.device("cpu"))
    outcome = run(experiment, tensors, StampSource("test", "0"), tmp_path)
    kept = np.load(tmp_path / "predictions.npz")
    assert kept["test_probability"].shape == (2, len(tensors.test), 5)
    np.testing.assert_array_equal(kept["test_probability"][0], outcome.probability["test"])
    scores = [score(kept["test_label"], one).f1 for one in kept["test_probability"]]
    found = outcome.summary["honest"]["test"]["f1"]
    assert found["mean"] == pytest.approx(np.mean(scores), abs=1e-5)
    assert found["sd"] == pytest.approx(np.std(scores, ddof=1), abs=1e-5)


def test_more_epochs_go_on_with_a_run_and_another_rate_or_other_data_is_refused(
    sets: dict[str, StampSet], tmp_path: Path
) -> None:
    def again(setting: str, fingerprint: str = "0") -> int:
        experiment = read_experiment("reconstructor-v1", [*SMALL, setting])[0]
        tensors = prepare(sets[experiment.layout], experiment, torch.device("cpu"))
        return run(experiment, tensors, StampSource("test", fingerprint), tmp_path).fit.progress.epoch

    assert [again("epochs=1"), again("epochs=3")] == [1, 3]
    with pytest.raises(ExperimentError, match=r"holds a run with lr = 0\.001, and 0\.01 is requested"):
        again("lr=1e-2")
    with pytest.raises(ExperimentError, match="holds a run with fingerprint = '0'"):
        again("epochs=3", "1")
    with pytest.raises(ExperimentError, match="holds a run with epochs = 3, and 1 is requested; give another --out"):
        again("epochs=1")
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["epochs"] == 3


@pytest.mark.parametrize(
    ("name", "phases"),
    [
        ("staged", {"seed-1/pretrained-alone": 1, "seed-1/pretrained-through": 1, "seed-1": 1}),
        ("ae", {"seed-1": 1, "linear probe": 2}),
    ],
)
def test_every_phase_that_takes_long_is_watched_to_its_last_epoch(
    name: str, phases: dict[str, int], sets: dict[str, StampSet], tmp_path: Path
) -> None:
    found: dict[str, tuple[int, int]] = {}

    def watching(phase: str, epochs: int) -> Watch:
        def watch(training: TrainingProgress) -> None:
            found[phase] = training.epoch, epochs

        return watch

    settings = [*SMALL, "pretrain_epochs=1"] if name == "staged" else SMALL
    experiment = read_experiment(name, settings)[0]
    tensors = prepare(sets[experiment.layout], experiment, torch.device("cpu"))
    run(experiment, tensors, StampSource("test", "0"), tmp_path, watching)
    assert found == {phase: (epochs, epochs) for phase, epochs in phases.items()}


def test_a_finished_run_is_read_and_not_probed_again(
    sets: dict[str, StampSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = read_experiment("ae", SMALL)[0]
    tensors = prepare(sets[experiment.layout], experiment, torch.device("cpu"))
    first = run(experiment, tensors, StampSource("test", "0"), tmp_path)
    for name in ("pooled_probe", "converged_probe", "pca_probe"):
        monkeypatch.delattr(f"train.baselines.run.{name}")
    again = run(experiment, tensors, StampSource("test", "0"), tmp_path)
    assert again.summary == json.loads(json.dumps(first.summary))
    assert all((again.probability[name] == first.probability[name]).all() for name in ("validation", "test"))
    weights = again.fit.model.state_dict()
    assert all(torch.equal(weights[name], one) for name, one in first.fit.model.state_dict().items())


def test_a_seed_that_was_probed_is_not_probed_again_when_others_follow(
    sets: dict[str, StampSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Counter[str]()
    source = StampSource("test", "0")
    probe = "converged probe"

    def watching(phase: str, epochs: int) -> Watch:
        said[phase] += 1
        return lambda _: None

    for settings in (["seeds=1"], ["seeds=2"], ["seeds=2", "epochs=2"]):
        experiment = read_experiment("ae", [*SMALL, *settings])[0]
        tensors = prepare(sets[experiment.layout], experiment, torch.device("cpu"))
        last = run(experiment, tensors, source, tmp_path, watching)
    assert (said[f"seed-1, {probe}"], said[f"seed-2, {probe}"]) == (2, 2)
    fresh = run(experiment, tensors, source, tmp_path / "fresh", watching)
    assert json.loads(json.dumps(last.summary)) == json.loads(json.dumps(fresh.summary))


def test_a_gpu_that_is_asked_for_and_missing_is_an_error(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    data = write(tmp_path / "stamp_dataset_21_new.pkl", single())
    found = CliRunner().invoke(app, ["run", "ae", "--data", str(data), "--device", "cuda"])
    assert found.exit_code == 2
    assert "no CUDA device is visible" in found.output


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_compiled_and_eager_learn_the_same(sets: dict[str, StampSet], tmp_path: Path) -> None:
    losses = []
    for compiled in ("false", "true"):
        (experiment,) = read_experiment("ae", [*SMALL, f"compiled={compiled}"])
        tensors = prepare(sets[experiment.layout], experiment, torch.device("cpu"))
        outcome = run(experiment, tensors, StampSource("test", "0"), tmp_path / compiled)
        losses.append(outcome.fit.progress.records[0]["train"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
