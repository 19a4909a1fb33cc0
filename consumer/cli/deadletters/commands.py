"""The commands of `estampa deadletters`. What takes long to load is imported when a command runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from consumer.cli.options import (
    Config,
    Device,
    Model,
    Overwrite,
    StoreUrl,
    Summary,
    common,
    configured,
    tell,
)
from consumer.terminal import show as show_table
from consumer.terminal import write
from consumer.writable import check_folder, check_not_read

LetterFile = Annotated[Path | None, typer.Option("--dead-letters", help="Avro file. Default: the dead-letter topic.")]
Reasons = Annotated[list[str] | None, typer.Option("--reason", help="Only these; repeat it.")]
All = Annotated[bool, typer.Option("--all", help="Also those that were recovered since.")]

app = typer.Typer(help="Look at dead letters, take them out, put them through again.", no_args_is_help=True)


@app.command(name="list")
def list_(
    config: Config = None,
    dead_letters: LetterFile = None,
    reason: Reasons = None,
    each: Annotated[bool, typer.Option("--each", help="A row a letter, not a row a reason.")] = False,
    all_: All = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Count dead letters by reason, or list each with its place. Those that were recovered are left out."""
    settings = configured(config)
    from consumer.cli.deadletters import listing as run
    from consumer.cli.deadletters.reader import DeadLetterReader

    found = DeadLetterReader(dead_letters, reason or (), all_).infos(settings)
    rows = (run.each if each else run.by_reason)(found, recovered=all_)
    if as_json:
        write(json.dumps(rows, indent=2) + "\n")
    else:
        show_table(run.letters_table(rows, f"{len(found)} dead letters"))


@app.command()
def show(
    place: Annotated[str, typer.Argument(help="SOURCE:PARTITION:POSITION[:RECORD], as list --each names it.")],
    config: Config = None,
    dead_letters: LetterFile = None,
) -> None:
    """Show one dead letter, and what the decoder of today makes of it, as JSON."""
    settings = configured(config)
    from consumer.cli.deadletters import listing as run
    from consumer.cli.deadletters.reader import DeadLetterReader

    reader = DeadLetterReader(dead_letters, recovered=True)
    letter = run.find(reader.letters(settings, reader.infos(settings)), place)
    write(json.dumps(run.shown(letter, settings.limits.packet_bytes), indent=2) + "\n")


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A new folder: a file a packet, and index.jsonl.")],
    config: Config = None,
    dead_letters: LetterFile = None,
    reason: Reasons = None,
    all_: All = False,
) -> None:
    """Write the original bytes of dead letters to files. Those that were recovered are left out."""
    settings = configured(config)
    check_not_read("folder", folder, [dead_letters, config])
    check_folder("folder", folder)
    from consumer.cli.deadletters import listing as run
    from consumer.cli.deadletters.reader import DeadLetterReader

    reader = DeadLetterReader(dead_letters, reason or (), all_)
    done = run.export(reader.letters(settings, reader.infos(settings)), folder)
    write(json.dumps(done) + "\n")


@app.command(name="replay")
def replay_letters(
    config: Config = None,
    dead_letters: LetterFile = None,
    reason: Reasons = None,
    out: Annotated[Path | None, typer.Option(help="To this file; default: to the output topic.")] = None,
    store: StoreUrl = None,
    model: Model = None,
    device: Device = None,
    summary: Summary = None,
    overwrite: Overwrite = False,
) -> None:
    """Put dead letters through the pipeline again, after a fix, and say what became of each.

    Those that are recovered are marked so: beside the file they are in, or in the dead-letter topic. They are listed
    no more, and go through no second time.
    """
    settings = configured(config, **common(store, model, device, None))
    from consumer.archive.sink import check_writable

    check_writable(out, None, summary, [dead_letters, config], overwrite=overwrite)
    from consumer.cli.deadletters.listing import letters_table
    from consumer.cli.deadletters.reader import DeadLetterReader
    from consumer.cli.deadletters.redeliver import redeliver

    account = redeliver(settings, DeadLetterReader(dead_letters, reason or ()), out)
    tell(account, summary, "replayed")
    show_table(letters_table([account["letters"]], "dead letters"))
