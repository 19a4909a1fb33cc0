"""Names of version 0.1: read, with a line that says the present one."""

import json
from pathlib import Path

import pytest

from tests.train.cli.test_experiments import invoke
from train.experiments.catalogue import names, read_experiment
from train.experiments.old_names import EXPERIMENTS, SETTINGS, folder_of, present_settings
from train.experiments.run_folder import changed_settings, check_settings


@pytest.mark.parametrize("old", EXPERIMENTS)
def test_an_experiment_is_read_by_its_old_name_with_one_warning(old: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_experiment(old) == read_experiment(EXPERIMENTS[old])
    assert EXPERIMENTS[old] in names()
    [line] = capsys.readouterr().err.splitlines()
    assert line == (
        f"warning: experiment {old} is called {EXPERIMENTS[old]} now; the old name is read until the next release"
    )


def test_settings_are_read_by_their_old_names_with_a_warning_each(capsys: pytest.CaptureFixture[str]) -> None:
    old = ["rate=1e-2", "decay=1", "batch=7", "pretrained=2", "pretrained_rate=1e-3", "keeps=last"]
    new = ["lr=1e-2", "weight_decay=1", "batch_size=7", "pretrain_epochs=2", "pretrain_lr=1e-3", "checkpoint=last"]
    assert read_experiment("clasificador-v2", old) == read_experiment("clasificador-v2", new)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(old)
    assert lines[0] == "warning: setting rate is called lr now; the old name is read until the next release"


def test_a_grid_is_read_by_an_old_name(tmp_path: Path) -> None:
    (tmp_path / "set.npz").touch()
    found = invoke("sweep", "ae", "--data", tmp_path / "set.npz", "--out", tmp_path, "--grid", "rate=1,2")
    assert found.output.count("setting rate is called lr now") == 1


def test_a_run_of_the_version_before_goes_on_in_its_folder(tmp_path: Path) -> None:
    [run] = read_experiment("ae-latent", only=["42"])
    folder = tmp_path / "seed001-latent-42"
    folder.mkdir()
    back = {now: was for was, now in SETTINGS.items()}
    before = {back.get(key, key): value for key, value in run.settings().items()} | {
        "name": "seed001-latent",
        "cell": "lstm",
    }
    (folder / "config.json").write_text(json.dumps(before))
    assert folder_of(tmp_path, run.run) == folder
    check_settings(folder, run, resume=False)
    assert present_settings(before).items() >= run.settings().items()
    [longer] = read_experiment("ae-latent", ["lr=1"], ["42"])
    assert changed_settings(folder, longer) == [("lr", 0.333e-4, 1.0)]
    (tmp_path / "ae-latent-42").mkdir()
    assert folder_of(tmp_path, run.run) == tmp_path / "ae-latent-42"
    assert folder_of(tmp_path, "estampa-serve") == tmp_path / "estampa-serve"
