"""What `check-config --explain` and `--template` print is true of the settings themselves."""

import json
import tomllib
from pathlib import Path

import pytest

from consumer.configuration.explain import all_settings, explained, template
from consumer.configuration.load import load_settings
from consumer.configuration.settings import Settings
from tests.support.line import estampa_here


def uncommented(text: str) -> str:
    """The template with every setting that has a default in force, but for a login's: it needs a security."""
    return "\n".join(line[1:] if line.startswith("#") and line[1:2] != " " else line for line in text.splitlines())


def test_every_setting_has_a_meaning_and_says_what_it_takes() -> None:
    named = [info.name for info in all_settings()]
    assert named == [f"{part}.{key}" for part, keys in Settings().model_dump().items() for key in keys]
    assert not [info.name for info in all_settings() if not info.meaning or not info.allowed]


def test_a_template_sets_nothing(tmp_path: Path) -> None:
    file = tmp_path / "estampa.toml"
    file.write_text(template())
    assert load_settings(file) == Settings()


def test_the_defaults_of_a_template_are_the_defaults(tmp_path: Path) -> None:
    lines = uncommented(template()).splitlines()
    set_by_default = {info.key for info in all_settings() if info.default} - {"mechanism"}
    kept = [line for line in lines if line.startswith(("[", "#")) or line.split(" ")[0] in set_by_default]
    file = tmp_path / "estampa.toml"
    file.write_text("\n".join(kept))
    assert len(tomllib.loads(file.read_text())["kafka"]) > 10
    assert load_settings(file) == Settings()


@pytest.mark.parametrize(
    ("name", "unit", "default", "allowed"),
    [
        ("kafka.broker_timeout_s", "s", "60.0", "number > 0"),
        ("kafka.days_back", "days", "1", "whole number ≥ 0, ≤ 7"),
        ("limits.packet_bytes", "bytes", "16777216", "whole number ≥ 1"),
        ("batch.size", "messages", "512", "whole number ≥ 1, ≤ 16,384"),
        ("store.dtype", "", '"float32"', "float32 or float16"),
        ("kafka.password", "", "", "text (secret)"),
        ("kafka.ca_file", "", "", "path"),
        ("kafka.topics", "", "[]", "list"),
        ("monitor.enabled", "", "true", "true or false"),
    ],
)
def test_a_setting_is_explained_with_unit_default_and_bounds(name: str, unit: str, default: str, allowed: str) -> None:
    [info] = [info for info in all_settings() if info.name == name]
    assert (info.unit, info.default, info.allowed) == (unit, default, allowed)


def test_check_config_prints_them(tmp_path: Path) -> None:
    assert estampa_here({}, "check-config", "--explain").stdout == explained()
    file = tmp_path / "estampa.toml"
    file.write_text(estampa_here({}, "check-config", "--template").stdout)
    assert json.loads(estampa_here({}, "check-config", "--config", str(file)).stdout) == Settings().masked()
