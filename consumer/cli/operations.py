"""The commands of whoever runs estampa: is all well, is anything missing, what was set aside?"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from consumer.cli.options import (
    Brokers,
    Config,
    Device,
    Group,
    Model,
    Overwrite,
    Programids,
    StoreUrl,
    Summary,
    check_summary,
    common,
    configured,
    date_given,
    tell,
    write_summary,
)
from consumer.errors import ConfigError, EstampaError, UnaccountedAlerts
from consumer.terminal import show as show_table
from consumer.terminal import write
from consumer.writable import check_folder, check_not_read

LetterFile = Annotated[Path | None, typer.Option("--dead-letters", help="Avro file. Default: the dead-letter topic.")]
Reasons = Annotated[list[str] | None, typer.Option("--reason", help="Only these; repeat it.")]
All = Annotated[bool, typer.Option("--all", help="Also those that were recovered since.")]

letters = typer.Typer(help="Look at dead letters, take them out, put them through again.", no_args_is_help=True)

models = typer.Typer(help="Read checkpoints: list those shipped, show one, verify one.", no_args_is_help=True)
Checkpoint = Annotated[str, typer.Argument(help="A checkpoint's folder, or the name of a shipped one.")]


def audit(
    config: Config = None,
    brokers: Brokers = None,
    group: Group = None,
    topic: Annotated[list[str] | None, typer.Option(help="Audit this topic; repeat it. Default: the night's.")] = None,
    night: Annotated[str | None, typer.Option(metavar="DATE", help="The topics of this UTC date: 2026-01-31.")] = None,
    programid: Programids = None,
    summary: Summary = None,
) -> None:
    """Compare what a night's topics held with what was classified and dead-lettered. Exit 1 if an alert is missing."""
    kafka = {"brokers": brokers, "group": group, "topics": topic, "programids": programid}
    day = date_given(night, "--night") if night else None
    settings = configured(config, kafka=kafka)
    check_summary(summary, config)
    from consumer.cli.audit import audit as run
    from consumer.cli.audit import audit_table, topics_of

    found = run(settings, topics_of(settings, day))
    write_summary(found, summary)
    show_table(audit_table(found))
    if found["missing"]:
        raise UnaccountedAlerts(
            f"{len(found['missing'])} alerts are missing; `estampa consume` would not read them again"
        )


def doctor(
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Look at model, device, disk, broker, topics, group, store and clock; say what is wrong and what to do."""
    settings = configured(config)
    from consumer.cli.doctor import examine, findings_table

    findings = examine(settings)
    if as_json:
        write(json.dumps([asdict(one) for one in findings], indent=2) + "\n")
    else:
        show_table(findings_table(findings))
    if wrong := [one.subject for one in findings if one.state == "fail"]:
        raise EstampaError(f"wrong: {', '.join(wrong)}; what to do stands beside each")


@letters.command(name="list")
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

    found = DeadLetterReader(dead_letters, reason or (), all_).slips(settings)
    rows = (run.each if each else run.by_reason)(found, recovered=all_)
    if as_json:
        write(json.dumps(rows, indent=2) + "\n")
    else:
        show_table(run.letters_table(rows, f"{len(found)} dead letters"))


@letters.command()
def show(
    place: Annotated[str, typer.Argument(help="SOURCE:PARTITION:POSITION[:RECORD], as list --each names it.")],
    config: Config = None,
    dead_letters: LetterFile = None,
) -> None:
    """Show one dead letter, and what the decoder of today makes of it, as JSON."""
    settings = configured(config)
    from consumer.cli.deadletters import listing as run
    from consumer.cli.deadletters.reader import DeadLetterReader

    asked = DeadLetterReader(dead_letters, recovered=True)
    letter = run.find(asked.whole(settings, asked.slips(settings)), place)
    write(json.dumps(run.shown(letter, settings.limits.packet_bytes), indent=2) + "\n")


@letters.command()
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

    asked = DeadLetterReader(dead_letters, reason or (), all_)
    done = run.export(asked.whole(settings, asked.slips(settings)), folder)
    write(json.dumps(done) + "\n")


@letters.command(name="replay")
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


@models.command(name="list")
def list_models(folder: Annotated[Path | None, typer.Option(help="Default: those shipped.")] = None) -> None:
    """List checkpoints with their ids and scores."""
    if folder and not folder.is_dir():
        raise ConfigError(f"--folder {folder} is not a folder; give one that holds folders of checkpoints")
    from consumer.cli.models import listing

    show_table(listing(folder))


@models.command(name="show")
def show_model(name: Checkpoint) -> None:
    """Show a checkpoint's configuration, classes, preprocessing, training data and scores."""
    from model_zoo.shipped import resolve

    folder = resolve(name)
    from consumer.cli.models import description
    from model_zoo.checkpoint import load

    show_table(description(load(folder)))


@models.command(name="verify")
def verify_model(
    name: Checkpoint,
    public_key: Annotated[str | None, typer.Option(help="minisign's: it must be signed by this key's owner.")] = None,
) -> None:
    """Load a checkpoint strictly and recompute its ids from its content; exit 1 if anything differs."""
    from consumer.cli.runtime import load_checkpoint
    from consumer.configuration.settings import ModelSettings

    found = load_checkpoint(ModelSettings(checkpoint=name, public_key=public_key))
    signed = "whole, and signed by this key's owner" if public_key else "whole"
    show_table(f"{found.name} is {signed}: model {found.model_id}, encoder {found.encoder_id}")
