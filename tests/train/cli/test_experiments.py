"""The commands from outside: what they print, what they leave, and how they refuse."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from tests.train.seeds import single, write
from train.__main__ import app
from train.training import loop

CHEAP = "reconstructor-v1"
SHORT = ["--set", "epochs=1", "--set", "probe_epochs=1", "--set", "seeds=1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "stamp_dataset_21_new.pkl", single())


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two finished runs."""
    out = tmp_path_factory.mktemp("runs")
    for name, only in (("clasificador-v1", []), ("ae-latent", ["--only", "42"])):
        found = invoke("run", name, "--data", data, "--out", out, "--origin", "simulated", "--no-umap", *only, *SHORT)
        assert found.exit_code == 0, found.output
    return out


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "300"})


def test_a_run_says_first_what_it_will_do_and_then_where_it_is(data: Path, tmp_path: Path) -> None:
    arguments = ("run", CHEAP, "--data", data, "--out", tmp_path, "--no-umap", "--device", "cpu", *SHORT)
    lines = invoke(*arguments, "--set", "seeds=2").stderr.splitlines()
    first = lines.index(
        f"{CHEAP}: 2 fits of at most 1 epoch, reconstructor, on 60 training stamps of stamp_dataset_21_new.pkl "
        f"(unstated), on cpu → {tmp_path / CHEAP}"
    )
    phases = [line.removeprefix(f"{CHEAP}: ").split(", at most")[0] for line in lines[first + 1 :]]
    assert [phases[0], phases[-1]] == ["seed 1 of 2", "figures and report"]
    assert "seed 2 of 2" in phases
    again = invoke(*arguments, "--set", "seeds=2")
    assert f"{CHEAP}: finished before, in {tmp_path / CHEAP}" in again.stderr


def test_compare_puts_runs_side_by_side_with_their_data(runs: Path) -> None:
    found = invoke("compare", runs / "clasificador-v1", runs / "ae-latent-42")
    assert found.exit_code == 0, found.output
    assert "ae-latent-42" in found.output
    assert found.output.count("simulated") == 2


def test_compare_tells_stamps_apart_that_have_the_same_labels(runs: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(runs / "clasificador-v1", other)
    summary = json.loads((other / "summary.json").read_text())
    summary["source"]["fingerprint"] = "of other stamps"
    (other / "summary.json").write_text(json.dumps(summary))
    found = invoke("compare", runs / "clasificador-v1", other)
    assert found.exit_code == 2
    assert "were tested on different stamps" in found.output


def test_compare_refuses_a_folder_that_holds_no_run(tmp_path: Path) -> None:
    found = invoke("compare", tmp_path)
    assert found.exit_code == 2
    assert "is not the folder of a finished run" in found.output


def test_the_scoreboard_has_a_dash_for_what_was_not_run_and_says_what_data_ours_is_of(runs: Path) -> None:
    found = invoke("scoreboard", "--out", runs, "--markdown")
    assert found.exit_code == 0, found.output
    lines = found.output.splitlines()
    (made,) = [line for line in lines if line.startswith("| frozen autoencoder, L = 42")]
    assert made.split("|")[3].strip().endswith("(simulated, 60 stamps, 1 epoch)")
    (missing,) = [line for line in lines if "L = 130" in line]
    assert missing.split("|")[3].strip() == "—"
    beside = [line for line in lines if line.startswith("| ae-latent-42 ")]
    assert [line.split("|")[2].strip() for line in beside] == ["precision", "recall", "f1", "mse"]
    assert all("simulated" in line for line in beside)


def test_the_scoreboard_passes_over_a_run_whose_settings_are_not_the_experiment_s(data: Path, tmp_path: Path) -> None:
    arguments = ("ae-latent", "--only", "42", "--data", data, "--out", tmp_path, "--no-umap", *SHORT)
    assert invoke("run", *arguments, "--set", "latent=5").exit_code == 0
    lines = invoke("scoreboard", "--out", tmp_path, "--markdown").output.splitlines()
    (line,) = [line for line in lines if line.startswith("| frozen autoencoder, L = 42")]
    assert line.split("|")[3].strip() == "—"
    assert not [line for line in lines if line.startswith("| ae-latent-42 ")]


def test_a_simulated_figure_cannot_be_relabelled_real(tmp_path: Path) -> None:
    marked = write(tmp_path / "stamp_dataset_21_new.pkl", single() | {"origin": "simulated"})
    bare = write(tmp_path / "stamp_dataset_21_new_bare.pkl", single())
    common = ("run", CHEAP, "--out", tmp_path, "--no-umap", *SHORT)
    found = invoke(*common, "--data", marked)
    assert found.exit_code == 0, found.output
    assert "ours (simulated data)" in found.output
    found = invoke(*common, "--data", marked, "--origin", "real")
    assert found.exit_code == 2
    assert "says itself that it is simulated; leave --origin out" in found.output
    found = invoke(*common, "--data", bare, "--origin", "real")
    assert found.exit_code == 2
    assert "holds a run with origin = 'simulated', and 'real' is requested; give another --out" in found.output
    found = invoke(*common, "--data", bare, "--origin", "banana")
    assert found.exit_code == 2
    assert "'banana' is not one of 'real', 'simulated', 'unstated'" in found.output


def test_sweep_prints_its_points_and_runs_none_again(data: Path, tmp_path: Path) -> None:
    arguments = ("sweep", "alerce-stamp", "--only", "images", "--data", data, "--out", tmp_path, *SHORT)
    for _ in range(2):
        found = invoke(*arguments, "--grid", "lr=1e-3,1e-4", "--grid", "batch_size=20,30", "--draws", "2")
        assert found.exit_code == 0, found.output
        assert found.stdout.count("batch_size=") == 2
    made = list((tmp_path / "alerce-stamp-images").iterdir())
    assert len(made) == 2


def test_sweep_asks_which_variant(data: Path, tmp_path: Path) -> None:
    found = invoke("sweep", "ae-latent", "--data", data, "--out", tmp_path, "--grid", "lr=1e-3")
    assert found.exit_code == 2
    assert "name the one to search with --only" in found.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "epoch=3"], "did you mean epochs"),
        (["--only", "41"], "has no variant '41'; there are 10, 21, 42, 130"),
    ],
)
def test_a_wrong_option_is_one_line(arguments: list[str], message: str, data: Path, tmp_path: Path) -> None:
    found = invoke("run", "ae-latent", "--data", data, "--out", tmp_path, *SHORT, *arguments)
    assert found.exit_code == 2
    assert message in found.output
    assert len(found.output.splitlines()) <= 2  # the device, the error


def test_tensorboard_shows_what_the_metrics_hold(data: Path, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    arguments = ("run", CHEAP, "--data", data, "--out", tmp_path, "--no-umap", "--tensorboard")
    assert invoke(*arguments, *SHORT, "--set", "seeds=2", "--set", "epochs=2").exit_code == 0
    for seed in ("seed-1", "seed-2"):
        metrics = tmp_path / CHEAP / seed / "metrics.jsonl"
        records = [json.loads(line) for line in metrics.read_text().splitlines()]
        shown = events.EventAccumulator(str(tmp_path / CHEAP / "tensorboard" / seed)).Reload()
        assert set(shown.Tags()["scalars"]) == records[0].keys() - {"epoch"}
        curve = [(one.step, one.value) for one in shown.Scalars("train")]
        assert curve == [(one["epoch"], pytest.approx(one["train"], rel=1e-6)) for one in records]


def test_tensorboard_is_optional(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    found = invoke("run", CHEAP, "--data", data, "--out", tmp_path, "--no-umap", "--tensorboard", *SHORT)
    assert found.exit_code == 2
    assert "pip install tensorboard" in found.output


def test_not_a_number_in_the_data_is_named_with_its_row(tmp_path: Path) -> None:
    content = single()
    content["Train"]["images"][7, 3, 3, 1] = np.nan
    path = write(tmp_path / "stamp_dataset_21_new.pkl", content)
    found = invoke("run", CHEAP, "--data", path, "--out", tmp_path, *SHORT)
    assert found.exit_code == 2
    assert "Train, row 7: the first of 1 pixels that are NaN" in found.output


def test_a_class_absent_from_a_split_is_named(tmp_path: Path) -> None:
    content = single()
    content["Validation"]["class"][:] = 3
    path = write(tmp_path / "stamp_dataset_21_new.pkl", content)
    found = invoke("run", CHEAP, "--data", path, "--out", tmp_path, *SHORT)
    assert found.exit_code == 2
    assert "split validation of 15 stamps has no AGN and no SN" in found.output


def test_a_rate_that_explodes_keeps_the_epochs_before(data: Path, tmp_path: Path) -> None:
    arguments = ("run", CHEAP, "--data", data, "--out", tmp_path, "--no-umap", *SHORT)
    assert invoke(*arguments).exit_code == 0
    kept = (tmp_path / CHEAP / "seed-1" / "last.pt").read_bytes()
    found = invoke(*arguments, "--set", "lr=1e30")
    assert found.exit_code == 2
    assert "holds a run with lr = 0.001" in found.output
    fresh = invoke(
        *arguments, "--out", tmp_path / "other", "--set", "lr=1e30", "--set", "sigmoid=false", "--set", "epochs=3"
    )
    assert fresh.exit_code == 2
    assert "lower it with --set lr=" in fresh.output
    assert (tmp_path / CHEAP / "seed-1" / "last.pt").read_bytes() == kept


def test_a_checkpoint_of_another_architecture_is_refused_and_kept(data: Path, tmp_path: Path) -> None:
    arguments = ("run", CHEAP, "--data", data, "--out", tmp_path, "--no-umap", *SHORT)
    assert invoke(*arguments, "--set", "channels=science,template").exit_code == 0
    folder = tmp_path / CHEAP
    (folder / "config.json").unlink()
    kept = (folder / "seed-1" / "last.pt").read_bytes()
    found = invoke(*arguments, "--set", "epochs=2")
    assert found.exit_code == 2
    assert "is of another model" in found.output
    assert (folder / "seed-1" / "last.pt").read_bytes() == kept


def test_a_setting_that_changes_nothing_is_said_to(data: Path, tmp_path: Path) -> None:
    given = (CHEAP, "--data", data, "--out", tmp_path, *SHORT, "--set", "steps=9")
    found, searched = invoke("run", *given, "--resume"), invoke("sweep", *given, "--grid", "cell=gru")
    for one in (found, searched):
        assert "warning: --set steps changes nothing: reconstructor does not read it, only serve" in one.output
        assert one.output.count("warning") == 1
    assert "error: --grid cell changes nothing: reconstructor does not read it, only sequence" in searched.output


def test_resume_goes_on_with_a_run_and_begins_none(data: Path, tmp_path: Path) -> None:
    arguments = ("run", CHEAP, "--data", data, "--out", tmp_path, "--no-umap", *SHORT)
    missing = invoke(*arguments, "--resume")
    assert missing.exit_code == 2
    assert f"no run to go on with is in {tmp_path / CHEAP}; give its --out" in missing.output
    assert not list(tmp_path.iterdir())
    for more in ([], ["--resume", "--set", "epochs=2"]):
        found = invoke(*arguments, *more)
        assert found.exit_code == 0, found.output
    [metrics] = (tmp_path / CHEAP).rglob("metrics.jsonl")
    assert [json.loads(line)["epoch"] for line in metrics.read_text().splitlines()] == [1, 2]


def test_resume_takes_a_folder_without_weights_for_no_run(data: Path, tmp_path: Path) -> None:
    (tmp_path / CHEAP).mkdir()
    (tmp_path / CHEAP / "config.json").write_text("{}")
    found = invoke("run", CHEAP, "--data", data, "--out", tmp_path, "--no-umap", *SHORT, "--resume")
    assert found.exit_code == 2
    assert "no run to go on with" in found.output


def test_ctrl_c_in_the_first_epoch_does_not_say_that_one_is_kept(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_epoch", interrupted)
    found = invoke("run", CHEAP, "--data", data, "--out", tmp_path, "--no-umap", *SHORT)
    assert found.exit_code == 130
    assert f"stopped; no epoch is in {tmp_path / CHEAP / 'seed-1'} yet; the same command" in found.output


CTRL_C = """
import signal
from train.training import loop
from train.__main__ import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what it puts aside deaf to Ctrl-C
whole, epochs = loop.batches, []

def struck(*words):
    epochs.append(words)
    for number, batch in enumerate(whole(*words)):
        if (len(epochs), number) == (4, 3):
            signal.raise_signal(signal.SIGINT)
        yield batch

loop.batches = struck
main()
"""


def test_ctrl_c_in_mid_epoch_stops_cleanly_and_the_same_command_ends_as_if_undisturbed(tmp_path: Path) -> None:
    path = write(tmp_path / "stamp_dataset_21_new.pkl", single())
    common = ["--data", path, "--no-umap", *SHORT, "--set", "epochs=8", "--set", "batch_size=6", "--device", "cpu"]
    words = ["run", CHEAP, *map(str, common), "--out", str(tmp_path / "parts")]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    one = subprocess.run(
        [sys.executable, "-c", CTRL_C, *words], env=env, stderr=subprocess.PIPE, text=True, check=False
    )
    assert one.returncode == 130, one.stderr
    assert "the last finished epoch is kept" in one.stderr
    assert len(torch.load(tmp_path / "parts" / CHEAP / "seed-1" / "last.pt")["progress"]["records"]) == 3
    for out in ("parts", "whole"):
        assert invoke("run", CHEAP, *common, "--out", tmp_path / out).exit_code == 0
    last = [torch.load(tmp_path / out / CHEAP / "seed-1" / "last.pt")["model"] for out in ("parts", "whole")]
    assert all(torch.equal(last[0][name], last[1][name]) for name in last[0])


def test_help_answers_before_torch_is_imported() -> None:
    code = "import sys, train.__main__; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_scoreboard_of_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["scoreboard", "--out", str(tmp_path / "nowhere")])
    assert done.exit_code == 2
    assert "nowhere holds no finished run; give the folder that `estampa-train run --out` wrote to" in done.stderr


def test_brackets_of_a_name_are_text_and_never_markup(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["scoreboard", "--out", str(tmp_path / "[/b]")])
    assert done.exit_code == 2
    assert "[/b] holds no finished run" in done.stderr
