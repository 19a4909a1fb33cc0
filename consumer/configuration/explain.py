"""The settings as a user looks them up: a table with the meaning of each, and a commented TOML file."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from consumer.configuration.load import section_model
from consumer.configuration.settings import Settings

UNITS: Final = {"_s": "s", "_ms": "ms", "_bytes": "bytes", "_days": "days", "_back": "days", "_ahead": "days"}
"""The end of a name → the unit of its value."""
SIGNS: Final = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """One setting. unit: "" for what has none. default: as TOML spells it, "" for none. allowed: values, in words."""

    section: str
    key: str
    meaning: str
    unit: str
    default: str
    allowed: str

    @property
    def name(self) -> str:
        return f"{self.section}.{self.key}"


def all_settings() -> Iterator[SettingInfo]:
    """Every setting, in the order of the sections."""
    for name in Settings.model_fields:
        for key, field in section_model(name).model_fields.items():
            yield SettingInfo(name, key, field.description or "", _unit(key, field), _default(field), _allowed(field))


def template() -> str:
    """A TOML file with every setting, its default commented out and its meaning above it."""
    lines = ["# Settings of estampa. Take the # away before a setting to change it."]
    for name in Settings.model_fields:
        lines += ["", f"[{name}]  # {' '.join((section_model(name).__doc__ or '').split())}"]
        for info in all_settings():
            if info.section == name:
                lines += [f"# {_described(info)}", f"#{info.key} = {info.default or _placeholder(info)}"]
    return "\n".join([*lines, ""])


def explained() -> str:
    """All settings as text: name, default, then unit, bounds and meaning on a line of their own."""
    lines = []
    for info in all_settings():
        lines += [f"{info.name} = {info.default or 'not set'}", f"    {_described(info)}"]
    return "\n".join([*lines, ""])


def _described(info: SettingInfo) -> str:
    parts = [info.meaning, f"unit: {info.unit}" if info.unit else "", info.allowed]
    return "; ".join(part for part in parts if part)


def _placeholder(info: SettingInfo) -> str:
    """A value for a setting that has no default: its TOML type must be seen."""
    return '""' if "text" in info.allowed or "path" in info.allowed else "0"


def _unit(key: str, field: FieldInfo) -> str:
    extra = field.json_schema_extra
    if isinstance(extra, dict):
        return str(extra["unit"])
    return next((unit for end, unit in UNITS.items() if key.endswith(end)), "")


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, dict):
        return "{}"
    return json.dumps(list(value) if isinstance(value, tuple) else value)  # TOML spells these as JSON does


def _allowed(field: FieldInfo) -> str:
    kind = field.annotation
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    bounds = [f"{sign} {limit:,}" for name, sign in SIGNS.items() if (limit := _bound(field, name)) is not None]
    return f"{_kind(kind)} {', '.join(bounds)}".rstrip()


def _bound(field: FieldInfo, name: str) -> Any:
    return next((getattr(one, name) for one in field.metadata if getattr(one, name, None) is not None), None)


def _kind(kind: Any) -> str:
    """A type in a user's words."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        return _kind(next(one for one in arguments if one is not NoneType))
    if origin is tuple:
        return "list"
    if origin is dict:
        return "table"
    words = {bool: "true or false", int: "whole number", float: "number", str: "text", SecretStr: "text (secret)"}
    return words.get(kind, "path")
