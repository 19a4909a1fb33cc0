"""Where settings come from: a TOML file, under `ESTAMPA__SECTION__KEY` from the environment, under the command line."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast, get_args

import structlog
from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsError

from consumer.configuration.login import check_files
from consumer.configuration.masking import HARMLESS
from consumer.configuration.settings import PREFIX, Settings, SettingsSection
from consumer.errors import ConfigError
from model_zoo.checks import read_text

log = structlog.get_logger()

CONFIG: Final = "ESTAMPA_CONFIG"
ALLOWED: Final = re.compile(r"ESTAMPA_(CONFIG|REAL_ALERTS|KAFKA_HOME|IMAGE_TAG|TEST_\w+|COMPLETE)")
"""Variables of estampa that are no settings: of the command line, the tests and the images."""

KUBERNETES: Final = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)")
ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://.*")
"""Kubernetes gives each container the addresses of Services, in such variables: ESTAMPA_PORT=tcp://10.0.0.1:9108."""


def load_settings(path: Path | None = None, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """Read `path`, the environment and `overrides` (section → key → value), later ones over earlier ones.

    Raises ConfigError naming the key, its value and, for an unknown key, the nearest known one.
    """
    check_environment(os.environ, {name: section_model(name).model_fields for name in Settings.model_fields})
    from_file = _with_new_names(read_toml(path) if path is not None else {}, str(path))
    given = _with_new_names(dict(overrides or {}), "the command line")

    class Layered(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            from_environment = _with_new_names(env_settings(), "the environment")
            layers = (InitSettingsSource(settings_cls, values) for values in (from_environment, from_file))
            return init_settings, *layers

    try:
        layered = Layered(**given)
    except ValidationError as error:
        raise ConfigError("; ".join(_explained(one) for one in error.errors())) from error
    except SettingsError as error:
        raise ConfigError(f"{error} (sections, lists and tables are JSON in the environment)") from error
    settings = Settings.model_construct(layered.model_fields_set, **dict(layered))
    check_files(settings.kafka)
    return settings


def _with_new_names(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A source's values, section → key → value, each under its present name; a warning is logged for an old name.

    Raises ConfigError where a source gives a setting under both names.
    """
    named = dict(values)
    for name, given in values.items():
        old_names = section_model(name).renamed if name in Settings.model_fields and isinstance(given, Mapping) else {}
        for old, new in old_names.items():
            if old not in named[name]:
                continue
            if new in given:
                raise ConfigError(f"{source} gives {name}.{old} and {name}.{new}, one setting; keep {name}.{new}")
            log.warning("setting_renamed", old=f"{name}.{old}", new=f"{name}.{new}", source=source)
            named[name] = {key: value for key, value in named[name].items() if key != old} | {new: given[old]}
    return named


def section_model(name: str) -> type[SettingsSection]:
    """The model of a section of `Settings`."""
    return cast("type[SettingsSection]", Settings.model_fields[name].annotation)


def _explained(error: Any) -> str:
    """One line. A value is repeated where its key is known, and no secret; our own errors say what may be said."""
    place = [str(part) for part in error["loc"]]
    key = ".".join(place)
    if error["type"] == "extra_forbidden":
        known = section_model(place[0]).model_fields if len(place) > 1 else Settings.model_fields
        return f"{key} is not a setting: {nearest(place[-1], known)}"
    plain = isinstance(error["input"], str | int | float) and error["type"] != "value_error" and _is_harmless(place)
    shown = f" (it is {error['input']!r})" if plain else ""
    return f"{key}: {error['msg']}{shown}" if key else error["msg"].removeprefix("Value error, ")


def _is_harmless(place: list[str]) -> bool:
    """Whether the value of this key may be shown. A path may be a password that was put into the wrong place."""
    section, key, *deeper = [*place, ""]
    if key == "librdkafka":
        return deeper[0] in HARMLESS
    field = section_model(section).model_fields.get(key)
    return field is not None and not {SecretStr, Path} & {field.annotation, *get_args(field.annotation)}


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


def check_environment(environment: Mapping[str, str], settings: Mapping[str, Iterable[str]]) -> None:
    """Raise ConfigError for a variable that looks like a setting and is none. settings: section → keys."""
    if environment.get(CONFIG) == "":
        raise ConfigError(f"environment variable {CONFIG} is empty; give the path of a TOML file, or unset it")
    for name, value in environment.items():
        spelt = name.upper()
        if not spelt.startswith("ESTAMPA_") or _is_of_another_program(spelt, value):
            continue
        section, *keys = spelt.removeprefix(PREFIX).lower().split("__")
        if not spelt.startswith(PREFIX) or section not in settings:
            raise ConfigError(f"environment variable {name} sets nothing: {_hint(spelt, section, keys, settings)}")


def _hint(name: str, section: str, keys: Sequence[str], settings: Mapping[str, Iterable[str]]) -> str:
    """The right spelling: underscores are what is mistaken most."""
    known = [f"{PREFIX}{place}__{key}".upper() for place, names in settings.items() for key in names]
    same = [one for one in known if one.replace("_", "") == name.replace("_", "")]
    if name.startswith(PREFIX) and keys and not same:
        return nearest(section, settings)
    return nearest(name, same or known)


def _is_of_another_program(name: str, value: str) -> bool:
    linked = KUBERNETES.fullmatch(name) or (name.endswith("_PORT") and ADDRESS.fullmatch(value))
    return bool(ALLOWED.fullmatch(name) or (linked and not name.startswith(PREFIX)))


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(names)}"
