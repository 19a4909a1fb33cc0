"""What the commands of the command line share: their options, the settings these give, how accounts are told."""

import json
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from consumer.errors import ConfigError

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="ESTAMPA_CONFIG", help="TOML file; ESTAMPA__SECTION__KEY goes over it."),
]
Model = Annotated[str | None, typer.Option(help="Checkpoint: a folder, or the name of a shipped one.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")]
StoreUrl = Annotated[str | None, typer.Option("--store", help="redis:// or rediss:// URL of the store.")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Alerts at once, at the most.")]
Summary = Annotated[Path | None, typer.Option(help="Write the run's account to this JSON file.")]
Brokers = Annotated[str | None, typer.Option(help="Kafka's host:port, comma separated.")]
Group = Annotated[str | None, typer.Option(help="Consumer group; keep it from start to start.")]
Programids = Annotated[list[int] | None, typer.Option("--programid", help="Program admitted; repeat it. Default: 1.")]


def configured(config: Path | None, **overrides: dict[str, Any]) -> Any:
    """The settings, under what the command line gave, with logging, and the bound on Avro's blocks, set by them."""
    import structlog

    from consumer.container import limit_blocks
    from consumer.log import configure_logging
    from consumer.login import unused
    from consumer.settings import load_settings

    given = {
        name: {key: value for key, value in section.items() if _is_given(value)} for name, section in overrides.items()
    }
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
    """A time from the command line, in milliseconds since 1970. Raises ConfigError where it is none, or to come."""
    from consumer.times import time_ms

    if text is None:
        return None
    try:
        found = time_ms(text)
    except ValueError as error:
        raise ConfigError(f"{option} {error}") from None
    if found > time.time() * 1000:
        raise ConfigError(f"{option} {text} is still to come; give a time of UTC that has been")
    return found


def date_given(text: str, option: str) -> date:
    """A date from the command line. Raises ConfigError where it is none."""
    from consumer.times import read_date

    try:
        return read_date(text)
    except ValueError as error:
        raise ConfigError(f"{option} {error}") from None


def tell(account: dict[str, Any], path: Path | None, title: str) -> None:
    """Print a run's account, and write it where asked."""
    from consumer.report import table

    stdout().print(table(account, title))
    write_summary(account, path)


def write_summary(account: dict[str, Any], path: Path | None) -> None:
    if path:
        try:
            path.write_text(json.dumps(account, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"--summary {path} cannot be written: {error.strerror}") from error


def stdout() -> Any:
    from rich.console import Console

    return Console()


def stderr() -> Any:
    from rich.console import Console

    return Console(stderr=True)
