"""Files that hold settings and passwords, as editors and shells leave them."""

import os
from pathlib import Path

import pytest

from consumer.configuration.load import load_settings
from consumer.errors import ConfigError


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "estampa.toml"


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_byte_order_mark_is_no_part_of_a_file(toml: Path, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_bytes(b"\xef\xbb\xbfs3cret\r\n")
    toml.write_bytes(b'\xef\xbb\xbf[kafka]\ngroup = "g"\n[store]\n' + f'password_file = "{secret}"\n'.encode())
    settings = load_settings(toml)
    assert settings.kafka.group == "g"
    assert settings.store.password is not None
    assert settings.store.password.get_secret_value() == "s3cret"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_file_in_utf_16_is_one_line_that_names_it(toml: Path, tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("be") else ""
    text = tmp_path / "text"
    text.write_bytes((mark + "[kafka]\n").encode(encoding))
    assert f"{text} is UTF-16 text; save it as UTF-8" in refusal(text)
    toml.write_text(f'[kafka]\npassword_file = "{text}"')
    assert f"kafka: Value error, {text} is UTF-16 text; save it as UTF-8" in refusal(toml)


def test_a_file_of_other_bytes_is_one_line_that_names_it(toml: Path) -> None:
    toml.write_bytes(b'[kafka]\ngroup = "\xe9"\n')
    assert f"{toml} is not UTF-8 text (byte 17); save it as UTF-8" in refusal(toml)


def test_an_error_of_toml_names_file_and_line(toml: Path) -> None:
    toml.write_text('[kafka]\ngroup = "g"\nbrokers = \n')
    line = refusal(toml)
    assert str(toml) in line
    assert "line 3" in line


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"configuration {tmp_path} is a folder; give a TOML file"


def test_a_configuration_comes_through_a_pipe() -> None:
    """As a shell's `--config <(…)` gives it: it can be read once."""
    reading, writing = os.pipe()
    os.write(writing, b'[kafka]\ngroup = "piped"\n')
    os.close(writing)
    try:
        assert load_settings(Path(f"/dev/fd/{reading}")).kafka.group == "piped"
    finally:
        os.close(reading)


def test_an_empty_password_file_is_refused(toml: Path, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("\n")
    toml.write_text(f'[store]\npassword_file = "{tmp_path / "password"}"')
    assert "is empty; write the password into it" in refusal(toml)
