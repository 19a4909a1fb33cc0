from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from consumer.cli.models import app
from model_zoo.checkpoint import save
from model_zoo.errors import CheckpointError
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


@pytest.mark.parametrize(
    "metadata",
    [{"held_out": [1]}, {"held_out": {"mlp_first_alert": 0.9}}, {"held_out": {"mlp_first_alert": {"f1": "high"}}}],
)
def test_list_and_show_take_metadata_of_any_type(tmp_path: Path, metadata: dict[str, Any]) -> None:
    save(replace(random_checkpoint(), metadata=metadata), tmp_path / "one")
    found = runner.invoke(app, ["list", "--folder", str(tmp_path)])
    assert (found.exit_code, "— / —" in found.output) == (0, True)
    assert runner.invoke(app, ["show", str(tmp_path / "one")]).exit_code == 0


def test_list_of_a_folder_with_a_broken_checkpoint_is_one_line_that_names_it(weights: Path) -> None:
    (weights / "broken").mkdir()
    (weights / "broken" / "model.json").write_text("[" * 100_000)
    found = runner.invoke(app, ["list", "--folder", str(weights)])
    assert isinstance(found.exception, CheckpointError)
    assert str(found.exception).startswith(f"checkpoint {weights / 'broken'} cannot be read")
