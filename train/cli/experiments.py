"""`estampa-train run`, `convert`, `compare`, `scoreboard` and `sweep`: the seeds' experiments from the command line.

What takes seconds to import is imported by the command that needs it, so that `--help` answers at once.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from consumer import terminal
from consumer.errors import OutputError
from consumer.writable import check_folder
from model_zoo.errors import CheckpointError
from model_zoo.shipped import resolve
from train.cli.arguments import check_device, check_export, check_there, single, training_device
from train.data.safe_pickle import PickleError
from train.data.stamp_set import DatasetError
from train.errors import TrainingError
from train.experiments.catalogue import names, read_experiment, read_grid, unread
from train.experiments.experiment import BaselineExperiment, Experiment, ExperimentError, ServingExperiment
from train.experiments.old_names import folder_of
from train.experiments.run_folder import check_resumable, check_settings
from train.files import check_free
from train.terminal import console as messages
from train.terminal import fail, warn

app = typer.Typer(help="Experiments.", no_args_is_help=True)
console = terminal.console(
    width=None if sys.stdout.isatty() else 200
)  # what is no terminal has no width: names stay whole

Name = Annotated[str, typer.Argument(help="An experiment; `estampa-train experiments NAME` shows its settings.")]
Data = Annotated[
    list[Path],
    typer.Option(help="A data set: .npz, or one of the seeds' pickles; for estampa-serve archives too, repeatable."),
]
Out = Annotated[Path, typer.Option(help="Folder that gets one folder a run.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="key=value over the experiment's own; repeatable.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto.")]
Origin = Annotated[
    Literal["real", "simulated", "unstated"] | None,
    typer.Option(help="Stands beside every figure of the run; by default the mark that the file bears."),
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a log.")]


@contextmanager
def answered() -> Iterator[None]:
    """A user's error is one line and status 2; Ctrl-C is a clean stop."""
    try:
        yield
    except (ExperimentError, DatasetError, PickleError, TrainingError, CheckpointError, OutputError, OSError) as error:
        raise fail(error) from error
    except KeyboardInterrupt as stop:
        left = "; ".join(["stopped", *map(str, stop.args)])
        messages.print(f"{left}; the same command goes on from there", soft_wrap=True, highlight=False)
        raise typer.Exit(130) from None


@app.command("run")
def run_command(
    name: Name,
    data: Data,
    out: Out = Path("runs"),
    only: Annotated[list[str] | None, typer.Option(help="A variant of the experiment; repeatable, else all.")] = None,
    settings: Settings = None,
    device: Device = "auto",
    origin: Origin = None,
    umap: Annotated[bool, typer.Option(help="Draw the UMAPs too; they take a minute.")] = True,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard's event files too.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Only go on with a run, for more epochs or seeds too; begin none.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove the run in the folder, begin anew.")] = False,
) -> None:
    """Run an experiment with all its variants; the same command goes on with a run that was stopped."""
    with answered():
        experiments = read_experiment(name, settings or [], only or [])
        _warn(experiments[0], settings or [])
        check_device(device)
        served = isinstance(experiments[0], ServingExperiment)
        check_there(data if served else [single(data)])
        check_folder("--out", out)
        folders = [folder_of(out, experiment.run) for experiment in experiments]
        _check_runs(experiments, folders, data, resume=resume, overwrite=overwrite)
        if served and tensorboard:
            raise ExperimentError(f"--tensorboard: {name} writes its losses to metrics.jsonl alone; leave it out")
        launch = _launch_served if served else _launch_baselines
        launch(experiments, data, folders, origin, device, umap=umap, tensorboard=tensorboard, overwrite=overwrite)


@app.command("experiments")
def experiments_command(
    which: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show this experiment, with settings.")] = None,
) -> None:
    """List the experiments; with NAME, show one: its settings, the data it takes and how to make such data."""
    if which is not None:
        with answered():
            from train.cli.experiment_page import experiment_page

            typer.echo(experiment_page(which))
        return
    for name in names():
        runs = read_experiment(name)
        variants = f" (--only {', '.join(run.variant for run in runs)})" if len(runs) > 1 else ""
        console.print(Text.assemble((name, "bold"), f"  {runs[0].title}{variants}"))


@app.command("convert")
def convert_command(
    pickle: Annotated[Path, typer.Argument(help="One of the seeds' pickles.")],
    out: Annotated[Path, typer.Option(help="The .npz to write.")],
    layout: Annotated[str | None, typer.Option(help="Of the pickle; by default the one its arrays have.")] = None,
    channels: Annotated[str | None, typer.Option(help="Order of the file's channels, comma-separated.")] = None,
) -> None:
    """Read a pickle safely, once, and write it as arrays that are mapped from disk."""
    try:
        check_free(out, ".npz")
    except ValueError as error:
        raise fail(error) from error
    with answered():
        from train.data.pickle_layouts import read_layout

        stamps = read_layout(pickle, layout, tuple(channels.split(",")) if channels else None)
        stamps.save(out)
    shape, origin, fingerprint = stamps.images.shape[1:], stamps.origin, stamps.fingerprint
    console.print(f"{len(stamps)} examples of {shape} → {out}, {origin}, fingerprint {fingerprint}")


@app.command("export")
def export_command(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run of estampa-serve.")],
    to: Annotated[Path, typer.Option(help="Where the consumer finds it: model_zoo/weights/NAME.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the checkpoint that is there.")] = False,
) -> None:
    """Write the checkpoint of a run where the consumer loads it from."""
    with answered():
        check_there([run_folder])
        check_export(to, overwrite=overwrite)
        from train.serving.run import export

        checkpoint = export(run_folder, to)
    console.print(f"{checkpoint.name}: model {checkpoint.model_id}, encoder {checkpoint.encoder_id} → {to}")


@app.command("score")
def score_command(
    model: Annotated[str, typer.Argument(help="A checkpoint: a name under model_zoo/weights, or a folder.")],
    data: Annotated[list[Path], typer.Option(help="Archives with labels or a truth table beside them; repeatable.")],
) -> None:
    """How well a checkpoint that serves does on labelled alerts: it should not have learned from them."""
    with answered():
        folder = resolve(model)
        check_there(data)
        from model_zoo.checkpoint import load
        from train.serving.evaluate import score_checkpoint

        console.print(score_checkpoint(load(folder), data), highlight=False)


@app.command("compare")
def compare_command(runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")]) -> None:
    """Runs side by side, each with the p-value that it and the first are right equally often (paired by object)."""
    with answered():
        check_there(runs)
        from train.baselines.compare import comparison

        console.print(comparison(runs))


@app.command("scoreboard")
def scoreboard_command(out: Out = Path("runs"), markdown: Markdown = False) -> None:
    """The lines to beat, ours in the last column; and every figure of the seeds beside ours."""
    with answered():
        from train.baselines.compare import beside_the_seeds, lines_to_beat, rich_table

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
    origin: Origin = None,
    draws: Annotated[int | None, typer.Option(min=1, help="Only so many combinations, drawn at random.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 1,
) -> None:
    """Search settings; what was run before is not run again. The choice is made on validation, test is only shown."""
    with answered():
        experiment, *others = read_experiment(name, ["seeds=1", *(settings or [])], only or [])
        if others:
            raise ExperimentError(f"{name} has several variants; name the one to search with --only")
        _warn(experiment, settings or [])
        points = read_grid(grid, draws, seed)
        check_device(device)
        check_there([single(data)])
        check_folder("--out", out)
        from train.baselines.launch import Trial, sweep
        from train.data.pickle_layouts import load_stamps
        from train.data.stamp_set import source_of

        trial = Trial(training_device(device), umap=False)
        stamps = load_stamps(single(data))
        source = source_of(data[0], stamps, origin)
        console.print(sweep(experiment, stamps, source, points, folder_of(out, experiment.run), trial))


def _launch_served(
    experiments: list[Experiment], data: list[Path], folders: list[Path], origin: str | None, device: str, **how: bool
) -> None:
    from train.serving.card import card_table
    from train.serving.run import run_serving

    where = training_device(device)
    for experiment, folder in zip(experiments, folders, strict=True):
        if isinstance(experiment, ServingExperiment):
            options = {name: how[name] for name in ("umap", "overwrite")}
            made = run_serving(experiment, data, folder, _print_line, origin=origin, device=where, **options)
            for checkpoint in made:
                console.print(card_table(checkpoint), highlight=False)
            console.print(f"→ {folder / 'report.html'}")


def _launch_baselines(
    experiments: list[Experiment], data: list[Path], folders: list[Path], origin: str | None, device: str, **how: bool
) -> None:
    from train.baselines.launch import Trial, launch
    from train.baselines.progress import RunProgress
    from train.data.pickle_layouts import load_stamps
    from train.data.stamp_set import source_of

    trial = Trial(training_device(device), **how)
    stamps = load_stamps(single(data))
    source = source_of(data[0], stamps, origin)
    runs = [experiment for experiment in experiments if isinstance(experiment, BaselineExperiment)]
    progress = RunProgress(runs)
    for experiment, folder in zip(runs, folders, strict=True):
        launch(experiment, stamps, source, folder, trial, progress)
        console.print((folder / "table.md").read_text(encoding="utf-8"), highlight=False)
        console.print(f"→ {folder / 'report.html'}")


def _check_runs(
    experiments: list[Experiment], folders: list[Path], data: list[Path], *, resume: bool, overwrite: bool
) -> None:
    """Raise ExperimentError, before the data is read, where the folders hold other runs than those requested."""
    if resume and overwrite:
        raise ExperimentError("--resume goes on with a run, and --overwrite begins anew; give one of them")
    if resume:
        check_resumable(folders)
    for experiment, folder in zip(experiments, folders, strict=True):
        if not overwrite:
            check_settings(folder, experiment, resume=resume)
        elif inside := [path for path in data if path.resolve().is_relative_to(folder.resolve())]:
            raise ExperimentError(f"--overwrite would remove the input {inside[0]}; move it, or give another --out")


def _warn(experiment: Experiment, settings: list[str]) -> None:
    """Of settings that change nothing, before hours go into the run."""
    for line in unread(experiment, settings):
        warn(f"--set {line}")


def _print_line(line: str) -> None:
    console.print(line, highlight=False)
