"""`estampa-train run`, `convert`, `compare`, `scoreboard` and `sweep`: the seeds' experiments from the command line."""

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from model_zoo.errors import CheckpointError
from train.compare import comparison, scoreboard_lines
from train.experiment import Experiment, ExperimentError, names, read_experiment
from train.inspection import inspect
from train.layouts import LAYOUTS, read_layout
from train.loop import Progress as Training
from train.loop import TrainingError, Watch
from train.material import prepare
from train.pickles import PickleError
from train.report import write_report
from train.run import Source, run
from train.serve import card_table, export, run_serving
from train.stamp_set import DatasetError, StampSet
from train.sweep import read_grid, sweep

app = typer.Typer(help="Experiments.", no_args_is_help=True)
console = Console()
ERRORS = (ExperimentError, DatasetError, PickleError, TrainingError)

Data = Annotated[
    list[Path],
    typer.Option(help="A data set: .npz, or one of the seeds' pickles; for estampa-serve archives, repeatable."),
]
Out = Annotated[Path, typer.Option(help="Folder that gets one folder a run.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="key=value over the experiment's own; repeatable.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto.")]
Origin = Annotated[str, typer.Option(help="real or simulated: stands beside every figure of the run.")]


def fail(error: Exception) -> typer.Exit:
    """One line for the user, no traceback."""
    console.print(f"[red]error:[/] {error}", highlight=False, soft_wrap=True)
    return typer.Exit(1)


def choose_device(name: str) -> torch.device:
    """Raises ExperimentError where a GPU is asked for and missing; `auto` says what it chose."""
    if name == "auto":
        chosen = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        console.print(f"device: {chosen.type} ({'a GPU is' if chosen.type == 'cuda' else 'no GPU'} visible)")
        return chosen
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ExperimentError(f"--device {name}: no CUDA device is visible; run with --device cpu")
    return torch.device(name)


def load_stamps(paths: list[Path]) -> StampSet:
    """A data set from .npz, or straight from a pickle. Raises ExperimentError on more than one."""
    if len(paths) != 1:
        raise ExperimentError(f"--data was given {len(paths)} times; this experiment takes one data set")
    path = paths[0]
    return StampSet.load(path) if path.suffix == ".npz" else read_layout(path)


@app.command("run")
def run_command(
    name: Annotated[str, typer.Argument(help="An experiment, as listed by `estampa-train experiments`.")],
    data: Data,
    out: Out = Path("runs"),
    settings: Settings = None,
    device: Device = "auto",
    origin: Origin = "unstated",
    umap: Annotated[bool, typer.Option(help="Draw the UMAPs too; they take a minute.")] = True,
) -> None:
    """Run an experiment with all its variants; a run that was stopped goes on where it was."""
    try:
        experiments = read_experiment(name, settings or [])
        if experiments[0].kind == "serve":
            for made in run_serving(experiments[0], data, out / name, _told):
                console.print(card_table(made), highlight=False)
            return
        where, stamps = choose_device(device), load_stamps(data)
        source = Source(data[0].name, stamps.fingerprint, origin)
        for experiment in experiments:
            _run_one(experiment, stamps, source, out / experiment.run, where, umap)
    except ERRORS as error:
        raise fail(error) from error
    except KeyboardInterrupt:
        console.print("stopped; the last finished epoch is kept, and the same command goes on from it")
        raise typer.Exit(130) from None


@app.command("experiments")
def experiments_command() -> None:
    """List the experiments."""
    for name in names():
        runs = read_experiment(name)
        console.print(f"[bold]{name}[/]  {runs[0].title}" + (f" ({len(runs)} runs)" if len(runs) > 1 else ""))


@app.command("convert")
def convert_command(
    pickle: Annotated[Path, typer.Argument(help="One of the seeds' pickles.")],
    out: Annotated[Path, typer.Option(help="The .npz to write.")],
    layout: Annotated[str | None, typer.Option(help=f"One of {', '.join(LAYOUTS)}; by default from the name.")] = None,
    channels: Annotated[str | None, typer.Option(help="Order of the file's channels, comma-separated.")] = None,
) -> None:
    """Read a pickle safely, once, and write it as arrays that are mapped from disk."""
    try:
        stamps = read_layout(pickle, layout, tuple(channels.split(",")) if channels else None)
        stamps.save(out)
    except ERRORS as error:
        raise fail(error) from error
    console.print(f"{len(stamps)} examples of {stamps.images.shape[1:]} → {out}, fingerprint {stamps.fingerprint}")


@app.command("inspect")
def inspect_command(data: Annotated[Path, typer.Argument(help="A .npz, or one of the seeds' pickles.")]) -> None:
    """Classes by split, ranges of the channels, repeats and leaks found by content."""
    try:
        for line in inspect(load_stamps([data])).lines():
            console.print(line, highlight=False)
    except ERRORS as error:
        raise fail(error) from error


@app.command("export")
def export_command(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run of estampa-serve.")],
    to: Annotated[Path, typer.Option(help="Where the consumer finds it: model_zoo/weights/NAME.")],
) -> None:
    """Write the checkpoint of a run where the consumer loads it from."""
    try:
        checkpoint = export(run_folder, to)
    except (*ERRORS, CheckpointError) as error:
        raise fail(error) from error
    console.print(f"{checkpoint.name}: model {checkpoint.model_id}, encoder {checkpoint.encoder_id} → {to}")


@app.command("compare")
def compare_command(runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")]) -> None:
    """Runs side by side, each with the chance that it and the first err alike (McNemar)."""
    try:
        console.print(comparison(runs))
    except ERRORS as error:
        raise fail(error) from error


@app.command("scoreboard")
def scoreboard_command(out: Out = Path("runs")) -> None:
    """The lines to beat, ours in the last column."""
    console.print(scoreboard_lines(out))


@app.command("sweep")
def sweep_command(
    name: Annotated[str, typer.Argument(help="An experiment of one variant.")],
    data: Data,
    grid: Annotated[list[str], typer.Option(help="key=a,b,c; repeatable, all combinations are run.")],
    out: Out = Path("sweeps"),
    settings: Settings = None,
    device: Device = "auto",
    draws: Annotated[int | None, typer.Option(help="Only so many combinations, drawn at random.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 1,
) -> None:
    """Search settings; what was run before is not run again. The choice is made on validation, test is only shown."""
    try:
        where, stamps = choose_device(device), load_stamps(data)
        experiment = read_experiment(name, [*(settings or []), "seeds=1"])[0]
        found = sweep(experiment, stamps, read_grid(grid, draws, seed), out / name, where)
        console.print(found)
    except ERRORS as error:
        raise fail(error) from error


def _told(line: str) -> None:
    console.print(line, highlight=False)


def _run_one(
    experiment: Experiment, stamps: StampSet, source: Source, folder: Path, device: torch.device, umap: bool
) -> None:
    material = prepare(stamps, experiment, device)
    with progress_bar(experiment) as watch:
        outcome = run(experiment, material, source, folder, watch)
    write_report(outcome, material, folder, umap=umap)
    console.print((folder / "table.md").read_text(encoding="utf-8"), highlight=False)
    console.print(f"→ {folder / 'report.html'}")


class progress_bar:  # noqa: N801 - used as a function: `with progress_bar(…) as watch`
    """A bar of the epochs with the loss and the time left; entering it gives what a training calls."""

    def __init__(self, experiment: Experiment) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[loss]}"))
        self._bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
        self._task = self._bar.add_task(experiment.run, total=experiment.epochs, loss="")

    def __enter__(self) -> Watch:
        self._bar.start()
        return self._seen

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _seen(self, training: Training) -> None:
        record = training.records[-1]
        loss = f"train {record['train']:.5f}  validation {record['validation']:.5f}"
        self._bar.update(self._task, completed=training.epoch, loss=loss)
