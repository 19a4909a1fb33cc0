"""The environment: which of its variables set something. A misspelt one sets nothing, and is told."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from consumer.errors import ConfigError

PREFIX: Final = "ESTAMPA__"
CONFIG: Final = "ESTAMPA_CONFIG"
ALLOWED: Final = re.compile(r"ESTAMPA_(CONFIG|REAL_ALERTS|KAFKA_HOME|IMAGE_TAG|TEST_\w+|COMPLETE)")
"""Ours without being settings: of the command line, the tests and the images."""

KUBERNETES: Final = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)")
ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://.*")
"""Kubernetes tells each container of the Services beside it, in such variables: ESTAMPA_PORT=tcp://10.0.0.1:9108."""


def check_environment(environment: Mapping[str, str], settings: Mapping[str, Iterable[str]]) -> None:
    """Raise ConfigError for a variable that looks like a setting and is none. settings: section → keys."""
    if environment.get(CONFIG) == "":
        raise ConfigError(f"environment variable {CONFIG} is empty; give the path of a TOML file, or unset it")
    for name, value in environment.items():
        spelt = name.upper()
        if not spelt.startswith("ESTAMPA_") or _is_another_s(spelt, value):
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


def _is_another_s(name: str, value: str) -> bool:
    linked = KUBERNETES.fullmatch(name) or (name.endswith("_PORT") and ADDRESS.fullmatch(value))
    return bool(ALLOWED.fullmatch(name) or (linked and not name.startswith(PREFIX)))


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(names)}"
