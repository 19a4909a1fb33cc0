"""`estampa-train run`, `convert`, `compare`, `scoreboard` and `sweep`: the seeds' experiments from the command line.

What takes seconds to import is imported by the command that needs it, so that `--help` answers at once.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from train.errors import TrainingError
from train.experiment import ExperimentError, names, read_experiment
from train.pickles import PickleError
from train.stamp_set import DatasetError
from train.terminal import console as messages
from train.terminal import fail

app = typer.Typer(help="Experiments.", no_args_is_help=True)
console = Console(width=None if sys.stdout.isatty() else 200)  # what is no terminal has no width: names stay whole
STOPPED = "stopped; the last finished epoch is kept, and the same command goes on from it"

Name = Annotated[str, typer.Argument(help="An experiment, as listed by `estampa-train experiments`.")]
Data = Annotated[
    list[Path],
    typer.Option(help="A data set: .npz, or one of the seeds' pickles; for estampa-serve archives too, repeatable."),
]
Out = Annotated[Path, typer.Option(help="Folder that gets one folder a run.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="key=value over the experiment's own; repeatable.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto.")]
Origin = Annotated[str, typer.Option(help="real or simulated: stands beside every figure of the run.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a log.")]


@contextmanager
def answered() -> Iterator[None]:
    """A user's error is one line and status 2; Ctrl-C is a clean stop."""
    try:
        yield
    except (ExperimentError, DatasetError, PickleError, TrainingError, OSError) as error:
        raise fail(error) from error
    except KeyboardInterrupt:
        messages.print(STOPPED)
        raise typer.Exit(130) from None


@app.command("run")
def run_command(
    name: Name,
    data: Data,
    out: Out = Path("runs"),
    only: Annotated[list[str] | None, typer.Option(help="A variant of the experiment; repeatable, else all.")] = None,
    settings: Settings = None,
    device: Device = "auto",
    origin: Origin = "unstated",
    umap: Annotated[bool, typer.Option(help="Draw the UMAPs too; they take a minute.")] = True,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard's event files too.")] = False,
) -> None:
    """Run an experiment with all its variants; a run that was stopped goes on where it was."""
    with answered():
        experiments = read_experiment(name, settings or [], only or [])
        if experiments[0].kind == "serve":
            from train.card import card_table
            from train.launch import choose_device
            from train.serve import run_serving

            if tensorboard:
                raise ExperimentError(f"--tensorboard: {name} writes its losses to metrics.jsonl alone; leave it out")
            where = choose_device(device)
            said = None if origin == "unstated" else origin
            made = run_serving(experiments[0], data, out / name, _told, origin=said, device=where, umap=umap)
            for checkpoint in made:
                console.print(card_table(checkpoint), highlight=False)
            console.print(f"→ {out / name / 'report.html'}")
            return
        from train.launch import Trial, choose_device, launch, load_stamps
        from train.run import Source

        trial = Trial(out, choose_device(device), origin, umap, tensorboard)
        stamps = load_stamps(data)
        source = Source(data[0].name, stamps.fingerprint, origin)
        for experiment in experiments:
            folder = launch(experiment, stamps, source, trial)
            console.print((folder / "table.md").read_text(encoding="utf-8"), highlight=False)
            console.print(f"→ {folder / 'report.html'}")


@app.command("experiments")
def experiments_command() -> None:
    """List the experiments."""
    for name in names():
        runs = read_experiment(name)
        variants = f" (--only {', '.join(run.variant for run in runs)})" if len(runs) > 1 else ""
        console.print(f"[bold]{name}[/]  {runs[0].title}{variants}")


@app.command("convert")
def convert_command(
    pickle: Annotated[Path, typer.Argument(help="One of the seeds' pickles.")],
    out: Annotated[Path, typer.Option(help="The .npz to write.")],
    layout: Annotated[str | None, typer.Option(help="Of the pickle; by default from its name.")] = None,
    channels: Annotated[str | None, typer.Option(help="Order of the file's channels, comma-separated.")] = None,
) -> None:
    """Read a pickle safely, once, and write it as arrays that are mapped from disk."""
    with answered():
        from train.layouts import read_layout

        stamps = read_layout(pickle, layout, tuple(channels.split(",")) if channels else None)
        stamps.save(out)
    console.print(f"{len(stamps)} examples of {stamps.images.shape[1:]} → {out}, fingerprint {stamps.fingerprint}")


@app.command("export")
def export_command(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run of estampa-serve.")],
    to: Annotated[Path, typer.Option(help="Where the consumer finds it: model_zoo/weights/NAME.")],
) -> None:
    """Write the checkpoint of a run where the consumer loads it from."""
    with answered():
        from model_zoo.errors import CheckpointError
        from train.serve import export

        try:
            checkpoint = export(run_folder, to)
        except CheckpointError as error:
            raise fail(error) from error
    console.print(f"{checkpoint.name}: model {checkpoint.model_id}, encoder {checkpoint.encoder_id} → {to}")


@app.command("compare")
def compare_command(runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")]) -> None:
    """Runs side by side, each with the chance that it and the first err alike (McNemar)."""
    with answered():
        from train.compare import comparison

        console.print(comparison(runs))


@app.command("scoreboard")
def scoreboard_command(out: Out = Path("runs"), markdown: Markdown = False) -> None:
    """The lines to beat, ours in the last column; and every figure of the seeds beside ours."""
    with answered():
        from train.compare import beside_the_seeds, lines_to_beat, rich_table

        for title, rows in (("Lines to beat", lines_to_beat(out)), ("Beside the seeds", beside_the_seeds(out))):
            if markdown:
                typer.echo(f"{title}\n\n{rows.markdown()}\n")
            else:
                console.print(rich_table(title, rows))


@app.command("sweep")
def sweep_command(
    name: Name,
    data: Data,
    grid: Annotated[list[str], typer.Option(help="key=a,b,c; repeatable, all combinations are run.")],
    out: Out = Path("sweeps"),
    only: Annotated[list[str] | None, typer.Option(help="The variant to search, where there are several.")] = None,
    settings: Settings = None,
    device: Device = "auto",
    origin: Origin = "unstated",
    draws: Annotated[int | None, typer.Option(min=1, help="Only so many combinations, drawn at random.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 1,
) -> None:
    """Search settings; what was run before is not run again. The choice is made on validation, test is only shown."""
    with answered():
        from train.launch import choose_device, load_stamps
        from train.run import Source
        from train.sweep import read_grid, sweep

        experiment, *others = read_experiment(name, ["seeds=1", *(settings or [])], only or [])
        if others:
            raise ExperimentError(f"{name} has several variants; name the one to search with --only")
        points, where, stamps = read_grid(grid, draws, seed), choose_device(device), load_stamps(data)
        source = Source(data[0].name, stamps.fingerprint, origin)
        console.print(sweep(experiment, stamps, source, points, out / experiment.run, where))


def _told(line: str) -> None:
    console.print(line, highlight=False)
