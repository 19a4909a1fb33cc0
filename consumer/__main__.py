"""The command line. `estampa COMMAND --help` tells each one's options."""

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from consumer.cli import models
from consumer.cli.deadletters import commands as deadletters
from consumer.cli.options import (
    TIME,
    BatchSize,
    Brokers,
    Config,
    Device,
    Group,
    Model,
    Overwrite,
    Programids,
    StoreUrl,
    Summary,
    Version,
    check_summary,
    check_words,
    common,
    configured,
    past_ms,
    tell,
    utc_date,
    warn_compact,
    write_summary,
)
from consumer.errors import SAID, ArchiveError, ConfigError, EstampaError, UnaccountedAlerts, shortened
from consumer.terminal import console, prepare_streams, printable, show, to_stdout, write
from consumer.writable import check_files
from model_zoo.errors import CheckpointError

app = typer.Typer(
    help="Classify a stream of astronomical alerts: Kafka or an archive in, classifications out, nothing lost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(version: Version = False) -> None:
    """Options before a command."""


@app.command()
def consume(
    config: Config = None,
    brokers: Brokers = None,
    group: Group = None,
    topic: Annotated[list[str] | None, typer.Option(help="Read this topic; repeat it. Default: the night's.")] = None,
    start: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"At the first start: earliest, latest or {TIME}.")
    ] = None,
    programid: Programids = None,
    store: StoreUrl = None,
    model: Model = None,
    device: Device = None,
    batch_size: BatchSize = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help=f"Read again from this time: {TIME}.")
    ] = None,
    exit_at_end: Annotated[bool, typer.Option("--exit-at-end", help="Stop when all has been read.")] = False,
    summary: Summary = None,
) -> None:
    """Classify the topics of the night, for months.

    Reads ztf_YYYYMMDD_programidN from yesterday to tomorrow, rolling with the days, or the topics given. A batch is
    committed once its classifications are published and its latents stored. SIGTERM finishes the batch in hand.
    --from goes back, once in each partition, to refill a store or to classify again; it never skips what was not read.
    """
    kafka = {"brokers": brokers, "group": group, "topics": topic, "start": start, "programids": programid}
    settings = configured(config, kafka=kafka, **common(store, model, device, batch_size))
    warn_compact(start, "--start")
    since_ms = past_ms(since, "--from")
    check_summary(summary, config)
    from consumer.cli.consume import consume as run
    from consumer.monitoring.report import check_classified

    account = run(settings, exit_at_end=exit_at_end, since_ms=since_ms)
    tell(account, summary, "consumed")
    if exit_at_end:
        check_classified(account, f"in {settings.output.dead_letter_topic}; see `estampa deadletters list`")


@app.command()
def replay(
    paths: Annotated[list[Path], typer.Argument(help="tar.gz, tar, directory of .avro, or Avro container.")],
    config: Config = None,
    out: Annotated[Path | None, typer.Option(help="Classifications: .parquet, .avro, .jsonl or .csv.")] = None,
    dead_letters: Annotated[Path | None, typer.Option(help="Alerts that failed, whole: an Avro file.")] = None,
    summary: Summary = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many alerts.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a replay to --out was stopped.")] = False,
    state_only: Annotated[bool, typer.Option("--state-only", help="Fill the sequences, publish nothing.")] = False,
    state_dir: Annotated[Path | None, typer.Option(help="Keep the embedded store's data here.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes, each with whole objects of its own.")] = 1,
    overwrite: Overwrite = False,
    store: StoreUrl = None,
    programid: Programids = None,
    model: Model = None,
    device: Device = None,
    batch_size: BatchSize = None,
) -> None:
    """Classify archived nights: the live pipeline, with files for a source.

    Without --store or --state-dir an embedded store lives for the run. With one of them, a replay that was stopped or
    killed goes on with --resume, nothing twice and nothing missing.
    """
    settings = configured(config, kafka={"programids": programid}, **common(store, model, device, batch_size))
    from consumer.cli.replay import Replay
    from consumer.cli.replay import replay as run
    from consumer.monitoring.report import check_classified

    asked = Replay(paths, out, dead_letters, state_dir, limit, resume, state_only, jobs)
    asked.check(settings)
    asked.check_outputs([*paths, config], summary, overwrite=overwrite)
    account, ended = run(settings, asked, console(stderr=True))
    tell(account, summary, "replayed" if ended else "stopped; go on with --resume")
    if damage := account.get("damage"):
        raise ArchiveError(damage)
    if ended:
        kept = f"in {dead_letters}" if dead_letters else "kept nowhere: keep them with --dead-letters FILE"
        check_classified(account, kept)


@app.command(name="object")
def object_(
    key: Annotated[str, typer.Argument(metavar="OBJECTID", help="objectId, or a solar-system designation.")],
    config: Config = None,
    store: StoreUrl = None,
    model: Model = None,
    device: Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Show an object's sequence and how its classification developed, alert by alert."""
    settings = configured(config, **common(store, model, device, None))
    from consumer.cli.object import development, development_table

    steps = development(settings, key)
    if as_json:
        write(json.dumps(steps, indent=2) + "\n")
    else:
        show(development_table(key, steps))


@app.command()
def check_config(
    config: Config = None,
    explain: Annotated[bool, typer.Option("--explain", help="Print each setting: default, unit, bounds.")] = False,
    template: Annotated[bool, typer.Option("--template", help="Print a TOML file with all settings.")] = False,
) -> None:
    """Validate the configuration, print it with secrets hidden, start nothing."""
    if explain or template:
        from consumer.configuration import explain as texts

        write(texts.explained() if explain else texts.template())
        return
    write(json.dumps(configured(config).masked(), indent=2) + "\n")


@app.command()
def demo(
    archive: Annotated[Path, typer.Argument(help="A night: tar.gz, tar, directory of .avro, or Avro container.")],
    config: Config = None,
    summary: Summary = None,
    overwrite: Overwrite = False,
) -> None:
    """Stream a night through a real broker and store, started for the occasion, and print the account."""
    settings = configured(config)
    check_files({"--summary": summary}, [archive, config], overwrite=overwrite)
    from consumer.cli.demo import demo as run
    from consumer.monitoring.report import check_classified

    account = run(settings, archive)
    tell(account, summary, "demo")
    check_classified(account, "gone with the demo's broker: keep them with `estampa replay --dead-letters FILE`")


@app.command()
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
    settings = configured(config, kafka=kafka)
    day = utc_date(night, "--night") if night else None
    check_summary(summary, config)
    from consumer.cli.audit import audit as run
    from consumer.cli.audit import audit_table, topics_of

    found = run(settings, topics_of(settings, day))
    write_summary(found, summary)
    show(audit_table(found))
    if found["missing"]:
        raise UnaccountedAlerts(
            f"{len(found['missing'])} alerts are missing; `estampa consume` would not read them again"
        )


@app.command()
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
        show(findings_table(findings))
    if wrong := [one.subject for one in findings if one.state == "fail"]:
        raise EstampaError(f"wrong: {', '.join(wrong)}; what to do stands beside each")


app.add_typer(deadletters.app, name="deadletters")
app.add_typer(models.app, name="models")


class Terminated(BaseException):
    """SIGTERM came while no loop ran that would have ended in order."""


def _terminate(*_: object) -> None:
    raise Terminated


def main() -> None:
    """Run the command line: one clear line, and no traceback, for what its user can fix."""
    # Before anything is loaded: a container's process 1 has no default that would end it. The loop has its own handler.
    signal.signal(signal.SIGTERM, _terminate)
    # Before torch loads: threads that spin while they wait are ruinous wherever anything else runs on the machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    prepare_streams()
    try:
        check_words(sys.argv[1:])
        with to_stdout():  # help is printed by the library
            app()
    except (EstampaError, CheckpointError) as error:
        sys.stderr.write(f"estampa: {printable(shortened(str(error), SAID))}\n")
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except Terminated:
        sys.stderr.write("estampa: ended by SIGTERM\n")
        sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
