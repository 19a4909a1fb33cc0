"""The configuration file: TOML, as people's editors and shells hand it over."""

import tomllib
from pathlib import Path
from typing import Any

from consumer.errors import ConfigError
from model_zoo.plain_text import read_text


def read_toml(path: Path) -> dict[str, Any]:
    """What the file says. It is read once, so that a pipe will do. Raises ConfigError naming file and line."""
    if path.is_dir():
        raise ConfigError(f"configuration {path} is a folder; give a TOML file")
    try:
        return tomllib.loads(read_text(path))
    except FileNotFoundError as error:
        raise ConfigError(f"configuration {path} does not exist; give a TOML file") from error
    except OSError as error:
        raise ConfigError(f"configuration {path} cannot be read: {error.strerror}; give a TOML file") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"configuration cannot be read: {path} is not TOML: {error}") from error
    except ValueError as error:
        raise ConfigError(f"configuration cannot be read: {error}") from error
