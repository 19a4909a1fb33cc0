"""What a command line may write to, and the device that it names."""

import shutil
from pathlib import Path

import pytest

from consumer.errors import OutputError
from model_zoo.checkpoint import WEIGHTS
from tests.train.cli.test_experiments import CHEAP, invoke
from train.cli.arguments import check_export, training_device
from train.experiments.experiment import ExperimentError


def test_export_replaces_a_checkpoint_only_with_overwrite(tmp_path: Path) -> None:
    shutil.copytree(WEIGHTS / "estampa-serve", tmp_path / "run" / "checkpoint")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.json").write_text("another checkpoint")
    arguments = ("export", tmp_path / "run", "--to", tmp_path / "weights")
    refused = invoke(*arguments)
    assert refused.exit_code == 2
    assert f"--to {tmp_path / 'weights'} holds a checkpoint; add --overwrite to replace it" in refused.output
    assert (tmp_path / "weights" / "model.json").read_text() == "another checkpoint"
    assert invoke(*arguments, "--overwrite").exit_code == 0
    assert (tmp_path / "weights" / "model.json").read_text() != "another checkpoint"


def test_export_among_other_files_is_refused_with_overwrite_too(tmp_path: Path) -> None:
    (tmp_path / "estampa-serve").mkdir()
    with pytest.raises(OutputError, match="holds other files and no checkpoint; give a folder of its own"):
        check_export(tmp_path, overwrite=True)


@pytest.mark.parametrize("command", [("run", CHEAP), ("sweep", CHEAP, "--grid", "lr=1")])
def test_a_folder_of_runs_that_cannot_be_made_is_found_before_the_data_is_read(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty.npz").touch()
    found = invoke(*command, "--data", tmp_path / "empty.npz", "--out", tmp_path / "file" / "runs")
    assert found.exit_code == 2
    assert f"cannot be a folder: {tmp_path / 'file'} is a file; give another" in found.output


@pytest.mark.parametrize(("name", "message"), [("foo", "no device is called so"), ("meta", "nothing is trained there")])
def test_a_device_that_is_none_is_an_error(name: str, message: str) -> None:
    with pytest.raises(ExperimentError, match=f"--device {name}: {message}; give cpu, cuda or auto"):
        training_device(name)
