"""What the commands of the command line share: their options, the settings these give, how accounts are told."""

import json
import re
import sys
import time
from collections.abc import Sequence
from datetime import date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from consumer.errors import ConfigError

TIME: Final = "2026-01-31T04:00:00Z"
"""How help shows a time."""

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="ESTAMPA_CONFIG", help="TOML file; ESTAMPA__SECTION__KEY goes over it."),
]
Model = Annotated[str | None, typer.Option(help="Checkpoint: a folder, or the name of a shipped one.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")]
StoreUrl = Annotated[str | None, typer.Option("--store", help="redis:// or rediss:// URL of the store.")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Alerts at once, at the most.")]
Summary = Annotated[Path | None, typer.Option(help="Write the run's account to this JSON file.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the files to write where they exist.")]
Brokers = Annotated[str | None, typer.Option(help="Kafka's host:port, comma separated.")]
Group = Annotated[str | None, typer.Option(help="Consumer group; keep it from start to start.")]
Programids = Annotated[list[int] | None, typer.Option("--programid", help="Program admitted; repeat it. Default: 1.")]


def print_version(asked: bool) -> None:
    """Print the program's version and end."""
    if asked:
        sys.stdout.write(f"estampa {version('estampa')}\n")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
]


def configured(config: Path | None, **overrides: dict[str, Any]) -> Any:
    """The settings, under what the command line gave, with logging, and the bound on Avro's blocks, set by them."""
    import structlog

    from consumer.configuration.load import load_settings
    from consumer.configuration.login import unused
    from consumer.configuration.settings import LogSettings
    from consumer.decoding.container import limit_blocks
    from consumer.monitoring.log import configure_logging

    given = {
        name: {key: value for key, value in section.items() if _is_given(value)} for name, section in overrides.items()
    }
    configure_logging(LogSettings())  # so that what is read of the settings can be logged
    settings = load_settings(config, {name: section for name, section in given.items() if section})
    configure_logging(settings.log)
    if keys := unused(settings.kafka):
        structlog.get_logger().warning(
            "login_unused", keys=[f"kafka.{key}" for key in keys], security=settings.kafka.security
        )
    limit_blocks(settings.limits.block_bytes)
    return settings


def _is_given(value: Any) -> bool:
    """Typer gives None for an option that was left out, or an empty list for one that can be repeated."""
    return value is not None and value != []


def check_words(words: Sequence[str]) -> None:
    """Raise ConfigError for an empty word of the command line: a variable that the shell does not know leaves one."""
    for before, word in zip(["", *words], words, strict=False):
        option, sign, value = word.partition("=")
        if not word:
            _refuse_empty(before if before.startswith("-") and "=" not in before else "an argument")
        if option.startswith("-") and sign and not value:
            _refuse_empty(option)


def _refuse_empty(what: str) -> NoReturn:
    raise ConfigError(f"{what} is given an empty value; give one, or leave it out (is a shell's variable unset?)")


def common(store: str | None, model: str | None, device: str | None, batch_size: int | None) -> dict[str, Any]:
    """The overrides that most commands take."""
    return {"store": {"url": store}, "model": {"checkpoint": model, "device": device}, "batch": {"size": batch_size}}


def past_ms(text: str | None, option: str) -> int | None:
    """A UTC time of the command line, 2026-01-31T04:00:00Z, in milliseconds since 1970.

    Raises ConfigError for another form, and for a time in the future.
    """
    from consumer.configuration.times import time_ms

    if text is None:
        return None
    try:
        found = time_ms(text)
    except ValueError as error:
        raise ConfigError(f"{option} {error}") from None
    if found > time.time() * 1000:
        raise ConfigError(f"{option} {text} is still to come; give a time of UTC that has been")
    warn_compact(text, option)
    return found


def utc_date(text: str, option: str) -> date:
    """A UTC date of the command line, 2026-01-31. Raises ConfigError for another form."""
    from consumer.configuration.times import read_date

    try:
        found = read_date(text)
    except ValueError as error:
        raise ConfigError(f"{option} {error}") from None
    warn_compact(text, option)
    return found


def warn_compact(text: str | None, option: str) -> None:
    """Log the form to write instead of 20260131 or 20260131T0400, which are read for one release more."""
    import structlog

    day, separator, clock = (text or "").partition("T")
    if re.fullmatch("[0-9]{8}", day):
        full = datetime.fromisoformat(f"{day}{separator}{clock}").isoformat().replace("+00:00", "Z")
        write = full if clock else date.fromisoformat(day).isoformat()
        structlog.get_logger().warning("date_form_deprecated", option=option, given=text, write=write)


def tell(account: dict[str, Any], path: Path | None, title: str) -> None:
    """Write a run's account where asked, and print it: the file comes first, as stdout may be closed or full."""
    from consumer.monitoring.report import report_table
    from consumer.terminal import show

    write_summary(account, path)
    show(report_table(account, title))


def write_summary(account: dict[str, Any], path: Path | None) -> None:
    if path:
        try:
            path.write_text(json.dumps(account, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"--summary {path} cannot be written: {error.strerror}") from error


def check_summary(path: Path | None, *inputs: Path | None) -> None:
    """Of a command that is run again and again: its summary replaces the last one, and no other file.

    inputs: what the command reads. Raises OutputError.
    """
    from consumer.writable import check_files

    check_files({"--summary": path}, inputs, overwrite=path is not None and _is_summary(path))


def _is_summary(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(1) in {b"{", b""}
    except OSError:  # not there, say: whether it can be made is asked by `check_files`
        return False
