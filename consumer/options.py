"""What the commands of the command line share: their options, the settings these give, how accounts are told."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

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
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the files to write where they exist.")]
Brokers = Annotated[str | None, typer.Option(help="Kafka's host:port, comma separated.")]
Group = Annotated[str | None, typer.Option(help="Consumer group; keep it from start to start.")]
Programids = Annotated[list[int] | None, typer.Option("--programid", help="Program admitted; repeat it. Default: 1.")]


def configured(config: Path | None, **overrides: dict[str, Any]) -> Any:
    """The settings, under what the command line gave, with logging, and the bound on Avro's blocks, set by them."""
    from consumer.container import limit_blocks
    from consumer.log import configure_logging
    from consumer.settings import load_settings

    given = {name: {key: value for key, value in section.items() if value} for name, section in overrides.items()}
    settings = load_settings(config, {name: section for name, section in given.items() if section})
    configure_logging(settings.log)
    limit_blocks(settings.limits.block_bytes)
    return settings


def common(store: str | None, model: str | None, device: str | None, batch_size: int | None) -> dict[str, Any]:
    """The overrides that most commands take."""
    return {"store": {"url": store}, "model": {"checkpoint": model, "device": device}, "batch": {"size": batch_size}}


def past_ms(text: str | None, option: str) -> int | None:
    """A time from the command line, in milliseconds since 1970. Raises ConfigError where it is none, or to come."""
    from consumer.settings import time_ms

    if text is None:
        return None
    try:
        found = time_ms(text)
    except ValueError:
        raise ConfigError(f"{option} {text} is no time; give one of UTC such as 2026-01-31T04:00") from None
    if found > time.time() * 1000:
        raise ConfigError(f"{option} {text} is still to come; give a time of UTC that has been")
    return found


def tell(account: dict[str, Any], path: Path | None, title: str) -> None:
    """Write a run's account where asked, and print it: the file comes first, as stdout may be closed or full."""
    from consumer.report import table
    from consumer.terminal import show

    write_summary(account, path)
    show(table(account, title))


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
