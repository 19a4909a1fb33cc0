"""The store's URL: which options it may carry. Errors never repeat it: it may hold the password."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

SCHEMES: Final = ("redis", "rediss", "unix")
PERCENT: Final = "percent-encode a password's /, # and ?"
LONGEST_S: Final = 3_600


def check_url(url: str) -> None:
    """Raise ValueError where a client of the store could not be made from `url`."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError("does not start with redis://, rediss:// or unix://")
    _check_place(parts)
    options = parse_qsl(parts.query, keep_blank_values=True)
    for name, value in options:
        _check_option(parts.scheme, name, value)
    if len(dict(options)) < len(options) or (
        "db" in dict(options) and parts.path.strip("/") and parts.scheme != "unix"
    ):
        raise ValueError("has an option twice; give it once")
    _check_together(dict(options))


def check_cluster(url: str) -> None:
    """Raise ValueError where `url`, which is a store's, cannot be a Cluster's."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        raise ValueError("url is a unix:// socket, which a Cluster is not reached by; give redis:// or rediss://")
    if int(dict(parse_qsl(parts.query)).get("db") or parts.path.strip("/") or 0):
        raise ValueError("url names a database, of which a Cluster has only 0; leave it out")


def _check_place(parts: SplitResult) -> None:
    try:
        _ = parts.port
    except ValueError:
        raise ValueError(f"has no number for a port; {PERCENT}") from None
    if "@" in parts.path + parts.query or parts.fragment:
        raise ValueError(f"goes on with @ or # after the host; {PERCENT} and @")
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError("names no socket; give unix:///path/of/it")
    elif not re.fullmatch(r"/?[0-9]*", parts.path):
        raise ValueError("has no number for a database after the host; give for example redis://host:6379/0")


def _check_option(scheme: str, name: str, value: str) -> None:
    if name.lower() in {"password", "username"}:
        raise ValueError(f"give the {name.lower()} before the host, or as store.password")
    if name not in OPTIONS:
        shown = f"an option {name!r}" if re.fullmatch(r"[A-Za-z][A-Za-z_]*", name) and value else "an option"
        raise ValueError(f"has {shown} that is not known; known are {', '.join(OPTIONS)}")
    if name.startswith("ssl_") and scheme != "rediss":
        raise ValueError(f"has the option {name}, which needs rediss://")
    if name == "socket_keepalive" and scheme == "unix":
        raise ValueError("has the option socket_keepalive, which a unix:// socket does not have")
    fits, wanted = OPTIONS[name]
    if not fits(value):
        raise ValueError(f"has an option {name} that is no {wanted}")


def _check_together(options: dict[str, str]) -> None:
    if "ssl_keyfile" in options and "ssl_certfile" not in options:
        raise ValueError("has ssl_keyfile without ssl_certfile; give both")
    if options.get("ssl_cert_reqs") == "none" and options.get("ssl_check_hostname", "").lower() in TRUE:
        raise ValueError("has ssl_check_hostname, which ssl_cert_reqs=none does not allow")


TRUE: Final = ("true", "yes", "1")
"""redis-py takes any word but those of no for true; here others are refused."""


def _whole(low: int, high: int) -> Callable[[str], bool]:
    return lambda text: bool(re.fullmatch(r"[0-9]{1,9}", text)) and low <= int(text) <= high


def _is_seconds(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and 0 < float(text) <= LONGEST_S
    except ValueError:
        return False


def _is_truth(text: str) -> bool:
    return text.lower() in {*TRUE, "false", "no", "0"}


def _is_file(text: str) -> bool:
    return Path(text).is_file()


SECONDS: Final = (_is_seconds, f"number of seconds from 0 to {LONGEST_S:,}")
TRUTH: Final = (_is_truth, "word of true, false")
FILE: Final = (_is_file, "file that exists")
OPTIONS: Final[dict[str, tuple[Callable[[str], bool], str]]] = {
    "db": (_whole(0, 2**20), "number of a database"),
    "client_name": (lambda text: bool(re.fullmatch(r"[!-~]+", text)), "name without spaces"),
    "health_check_interval": (_whole(0, LONGEST_S), f"whole number of seconds up to {LONGEST_S:,}"),
    "max_connections": (_whole(2, 2**20), "whole number of at least 2"),
    "socket_connect_timeout": SECONDS,
    "socket_keepalive": TRUTH,
    "socket_timeout": SECONDS,
    "ssl_ca_certs": FILE,
    "ssl_ca_path": (lambda text: Path(text).is_dir(), "folder that exists"),
    "ssl_cert_reqs": (lambda text: text in {"none", "optional", "required"}, "word of none, optional, required"),
    "ssl_certfile": FILE,
    "ssl_check_hostname": TRUTH,
    "ssl_keyfile": FILE,
}
"""What redis-py takes from a URL and we can do with: of each, what its value must be."""
