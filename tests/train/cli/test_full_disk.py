"""A disk that fills up: one line that names the file, and what was whole before is whole after."""

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from torch import nn

from model_zoo.checkpoint import WEIGHTS
from tests.train.cli.test_experiments import CHEAP, SHORT, invoke
from tests.train.seeds import single, write
from train.serving.fit import Encoders


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "stamp_dataset_21_new.pkl", single())


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    """No file may grow past `limit` bytes: what a disk that fills up does to a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_leaves_the_epoch_before(data: Path, tmp_path: Path) -> None:
    arguments = ("run", CHEAP, "--data", data, "--out", tmp_path, "--no-umap", *SHORT)
    assert invoke(*arguments).exit_code == 0
    folder = tmp_path / CHEAP / "seed-1"
    kept = (folder / "last.pt").read_bytes()
    with small_files(100_000):
        found = invoke(*arguments, "--set", "epochs=2", "--resume")
    assert found.exit_code == 2, found.output
    assert (
        f".pt cannot be written: File too large; the last finished epoch is kept in {folder}; is the disk"
        in found.output
    )
    assert (folder / "last.pt").read_bytes() == kept
    assert not list(folder.glob(".*.partial"))
    again = invoke(*arguments, "--set", "epochs=2", "--resume")
    assert again.exit_code == 0, again.output


def test_a_disk_that_is_full_in_the_first_epoch_is_not_said_to_have_kept_one(data: Path, tmp_path: Path) -> None:
    with small_files(100_000):
        found = invoke("run", CHEAP, "--data", data, "--out", tmp_path, "--no-umap", *SHORT)
    assert found.exit_code == 2, found.output
    assert f"no epoch is in {tmp_path / CHEAP / 'seed-1'} yet; is the disk full?" in found.output


def test_a_disk_that_was_full_before_is_named_with_the_file(data: Path, tmp_path: Path) -> None:
    with small_files(300):
        found = invoke("run", CHEAP, "--data", data, "--out", tmp_path, "--no-umap", *SHORT)
    assert found.exit_code == 2, found.output
    assert f"'{tmp_path / CHEAP / 'config.json'}'; free some room, and give the same command again" in found.output


def test_an_export_to_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    shutil.copytree(WEIGHTS / "estampa-serve", tmp_path / "run" / "checkpoint")
    arguments = ("export", tmp_path / "run", "--to", tmp_path / "weights")
    assert invoke(*arguments).exit_code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "weights").iterdir()}
    with small_files(1000):
        found = invoke(*arguments, "--overwrite")
    assert found.exit_code == 2, found.output
    assert f"File too large: '{tmp_path / 'weights'}'; free some room" in found.output
    assert {path.name: path.read_bytes() for path in (tmp_path / "weights").iterdir()} == before


def test_an_encoder_that_the_disk_does_not_take_is_named_and_not_left_in_part(tmp_path: Path) -> None:
    encoders = Encoders(tmp_path / "encoders")
    with small_files(1000), pytest.raises(OSError, match=r"File too large: '.*encoders/one\.safetensors'"):
        encoders.keep("one", lambda: (nn.Linear(100, 100), {}))
    assert not list(encoders.folder.iterdir())
