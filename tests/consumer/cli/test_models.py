from pathlib import Path

import pytest
from typer.testing import CliRunner

from consumer.cli.operations import models as app
from model_zoo.checkpoint import save
from tests.conftest import random_checkpoint

runner = CliRunner(env={"COLUMNS": "200"})


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save(random_checkpoint(), tmp_path / "untrained")
    return tmp_path


def test_list_names_what_is_there(weights: Path) -> None:
    found = runner.invoke(app, ["list", "--folder", str(weights)])
    assert found.exit_code == 0
    assert "untrained" in found.output
    assert random_checkpoint().model_id in found.output


def test_show_gives_classes_in_order_and_preprocessing(weights: Path) -> None:
    found = runner.invoke(app, ["show", str(weights / "untrained")])
    assert found.exit_code == 0
    assert "AGN, SN, VS, asteroid, bogus" in found.output
    assert '"normalisation": "minmax"' in found.output


def test_verify_finds_one_changed_byte(weights: Path) -> None:
    assert runner.invoke(app, ["verify", str(weights / "untrained")]).exit_code == 0
    tensors = weights / "untrained" / "model.safetensors"
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(content)
    found = runner.invoke(app, ["verify", str(weights / "untrained")])
    assert found.exit_code == 1
    assert "was altered" in str(found.exception)


def test_a_name_that_is_none_lists_those_shipped() -> None:
    found = runner.invoke(app, ["show", "secnod"])
    assert found.exit_code == 1
    assert "one of those shipped (" in str(found.exception)


def test_show_names_the_columns_of_metadata(tmp_path: Path) -> None:
    save(random_checkpoint(), tmp_path / "images")
    save(random_checkpoint(metadata=("magpsf", "g_r")), tmp_path / "both")
    assert "none: images only" in runner.invoke(app, ["show", str(tmp_path / "images")]).output
    assert "magpsf, g_r" in runner.invoke(app, ["show", str(tmp_path / "both")]).output
