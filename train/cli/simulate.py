"""`estampa-train simulate …`: the commands of the simulated sky."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from train.cli.arguments import check_there
from train.files import check_free
from train.terminal import console, fail

app = typer.Typer(
    help="A simulated sky: labelled nights of ZTF alerts, data sets, and how real they look.",
    no_args_is_help=True,
)

Out = Annotated[str, typer.Option(help="A directory, a .tar, .tar.gz or .tgz file, or kafka://host:port.")]
CORES = os.cpu_count() or 1
FAULTS_HELP = (
    "Rates by kind, e.g. duplicates=0.02,shuffled=0.05,late=0.01,nan=0.1,edge=0.01,no_template=0.005,corrupt=0.001."
)
Processes = Annotated[int, typer.Option(min=1, help="Processes that draw; the bytes do not depend on it.")]


def parse_mix(text: str) -> dict[str, float]:
    """Shares by class from `SN=0.2,VS=0.5`; classes left out get none. Raises ValueError naming what is wrong."""
    from train.simulation.sources.source import LABELS

    mix: dict[str, float] = {}
    for item in filter(None, text.split(",")):
        label, _, share = item.partition("=")
        if label not in LABELS:
            raise ValueError(f"unknown class {label!r} in --mix: choose from {', '.join(LABELS)}")
        try:
            mix[label] = float(share)
        except ValueError:
            raise ValueError(f"the share of {label} in --mix is {share!r}: write e.g. {label}=0.2") from None
    if any(share < 0 for share in mix.values()) or not sum(mix.values()) > 0:
        raise ValueError(f"--mix {text!r} gives no alerts: shares are positive numbers")
    return mix


def _truth_path(out: str, topic: str) -> Path:
    """`<out without suffixes>.truth.parquet`, beside the night; for Kafka, the topic's name in this directory."""
    if "://" in out:
        return Path(f"{topic}.truth.parquet")
    from train.data.labels import truth_beside

    return truth_beside(Path(out))


def _check_truth(truth: Path, out: str) -> None:
    """Raise ValueError where the truth table would replace something, the night itself included."""
    if truth.resolve() == Path(out).resolve():
        raise ValueError(f"--out and --truth are both {out}: give each a file of its own")
    check_free(truth, option="--truth")


def _with_progress(total: int, work: Callable[[Callable[[int], None]], int]) -> int:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
    )
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("alerts", total=total, rate="")
        start, done = time.monotonic(), 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            bar.update(task, advance=count, rate=f"{done / (time.monotonic() - start):,.0f}/s")

        return work(advance)


@app.command()
def night(
    out: Out,
    alerts: Annotated[int, typer.Option(min=1, help="Alerts in the night; repeats come on top.")] = 1000,
    date: Annotated[str, typer.Option(metavar="DATE", help="UTC date of the night.")] = "2026-01-01",
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same sky.")] = 1,
    schema: Annotated[str, typer.Option(help="Schema version to write: 4.02 or 3.3.")] = "4.02",
    mix: Annotated[str | None, typer.Option(help="Shares by class, e.g. SN=0.2,VS=0.8.")] = None,
    faults: Annotated[str, typer.Option(help=FAULTS_HELP)] = "",
    rate: Annotated[float | None, typer.Option(help="To Kafka: packets a second.")] = None,
    visit: Annotated[str | None, typer.Option(help="To Kafka: bursts, e.g. 10000/39s for Rubin's visits.")] = None,
    truth: Annotated[Path | None, typer.Option(help="Truth table; beside the night by default.")] = None,
    processes: Processes = CORES,
) -> None:  # fmt: skip
    """Write a night of alerts, and beside it the truth (Parquet, one row a packet)."""
    from consumer.configuration.times import read_date
    from train.simulation.nights import fault
    from train.simulation.nights.night import NightRequest, write_night
    from train.simulation.nights.sink import read_pace, sink_for
    from train.simulation.packets.packet import writer_schema

    try:
        writer_schema(schema)
        day = read_date(date)
        shares = {"mix": parse_mix(mix)} if mix else {}
        request = NightRequest(day, alerts, seed, schema, faults=fault.parse_faults(faults), **shares)
        target = sink_for(out, request.topic, read_pace(rate, visit))
        beside = truth or _truth_path(out, request.topic)
        _check_truth(beside, out)
        start = time.monotonic()
        written = _with_progress(alerts, lambda progress: write_night(request, target, beside, processes, progress))
    except (ValueError, OSError) as error:
        raise fail(error) from error
    seconds = time.monotonic() - start
    console.print(
        f"{written:,} packets in {seconds:.1f} s ({written / seconds:,.0f}/s) → {out}; truth → {beside}",
        highlight=False,
    )


@app.command()
def dataset(
    like: Annotated[
        str, typer.Option(help="Which of the seed projects' pickles to be like, e.g. stamp_dataset_21_new.")
    ],
    out: Annotated[Path, typer.Option(help="The pickle to write.")],
    scale: Annotated[
        float, typer.Option(min=0.0001, max=1.0, help="Share of the full training set; validation and test are whole.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 1,
    processes: Processes = CORES,
) -> None:
    """Write a data set in the very layout of one of the seed projects' five pickles."""
    from train.simulation.datasets.seed_dataset import seed_layout, write_dataset

    try:
        seed_layout(like)
        check_free(out)
        start = time.monotonic()
        with Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), console=console
        ) as bar:
            task = bar.add_task("")
            write_dataset(
                like, out, seed, scale, processes,
                lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
            )  # fmt: skip
    except (ValueError, OSError) as error:
        raise fail(error) from error
    console.print(f"{like} at scale {scale} in {time.monotonic() - start:.0f} s → {out}", highlight=False)


@app.command()
def realism(
    real: Annotated[list[Path], typer.Option(help="Archives of real alerts; may be given more than once.")],
    labels: Annotated[Path, typer.Option(help="CSV table with the columns candid and label.")],
    out: Annotated[Path, typer.Option(help="A new directory for the report and its plots.")],
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same figures.")] = 1,
    quick: Annotated[bool, typer.Option(help="A tenth of the training: to see that it runs, not to quote.")] = False,
) -> None:
    """Compare simulated alerts with real ones: distributions, and the two figures that count."""
    from consumer.errors import EstampaError

    try:
        check_there([*real, labels])
        check_free(out)
        from train.simulation.realism.discriminator import DiscriminatorTraining
        from train.simulation.realism.realism import Effort, assess

        brief = DiscriminatorTraining(epochs=3)
        out.mkdir()
        assess(real, labels, out, Effort(60, brief, brief, brief) if quick else Effort(), seed)
    except (ValueError, OSError, EstampaError) as error:
        raise fail(error) from error
    console.print(f"report → {out / 'report.md'}", highlight=False)
