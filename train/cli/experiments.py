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
from model_zoo.errors import CheckpointError
from model_zoo.shipped import resolve
from train.baselines.grid import read_grid
from train.cli.arguments import check_there, single
from train.data.safe_pickle import PickleError
from train.data.stamp_set import DatasetError
from train.errors import TrainingError
from train.experiments.device import check_device
from train.experiments.experiment import Experiment, ExperimentError, names, read_experiment, unread
from train.terminal import check_free, fail
from train.terminal import console as messages

app = typer.Typer(help="Experiments.", no_args_is_help=True)
console = terminal.console(
    width=None if sys.stdout.isatty() else 200
)  # what is no terminal has no width: names stay whole
WEIGHTS = ("*.pt", "*.safetensors")

Name = Annotated[str, typer.Argument(help="An experiment, as listed by `estampa-train experiments`.")]
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
    except (ExperimentError, DatasetError, PickleError, TrainingError, CheckpointError, OSError) as error:
        raise fail(error) from error
    except KeyboardInterrupt as stop:
        left = "; ".join(["stopped", *map(str, stop.args)])
        messages.print(f"{left}; the same command goes on from there", soft_wrap=True, highlight=False)
        raise typer.Exit(130) from None


def check_begun(folders: list[Path]) -> None:
    """Raises ExperimentError unless one of the folders holds weights that a run can go on from."""
    if not any(next(folder.rglob(kind), None) for folder in folders for kind in WEIGHTS):
        looked = ", ".join(map(str, folders))
        raise ExperimentError(
            f"--resume: no run to go on with is in {looked}; give its --out, or begin without --resume"
        )


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
        bool, typer.Option("--resume", help="Only go on with a run that was stopped: begin none.")
    ] = False,
) -> None:
    """Run an experiment with all its variants; a run that was stopped goes on where it was, --resume or not."""
    with answered():
        experiments = read_experiment(name, settings or [], only or [])
        _warn(experiments[0], settings or [])
        if resume:
            check_begun([out / experiment.run for experiment in experiments])
        check_device(device)
        check_there(data if experiments[0].kind == "serve" else [single(data)])
        if experiments[0].kind == "serve":
            if tensorboard:
                raise ExperimentError(f"--tensorboard: {name} writes its losses to metrics.jsonl alone; leave it out")
            from train.experiments.device import choose_device
            from train.serving.card import card_table
            from train.serving.run import run_serving

            where, folder = choose_device(device), out / experiments[0].run
            made = run_serving(experiments[0], data, folder, _told, origin=origin, device=where, umap=umap)
            for checkpoint in made:
                console.print(card_table(checkpoint), highlight=False)
            console.print(f"→ {folder / 'report.html'}")
            return
        from train.baselines.launch import Trial, launch
        from train.data.pickle_layouts import load_stamps
        from train.data.stamp_set import source_of
        from train.experiments.device import choose_device

        trial = Trial(choose_device(device), umap, tensorboard)
        stamps = load_stamps(single(data))
        source = source_of(data[0], stamps, origin)
        for experiment in experiments:
            folder = out / experiment.run
            launch(experiment, stamps, source, folder, trial)
            console.print((folder / "table.md").read_text(encoding="utf-8"), highlight=False)
            console.print(f"→ {folder / 'report.html'}")


@app.command("experiments")
def experiments_command() -> None:
    """List the experiments."""
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
) -> None:
    """Write the checkpoint of a run where the consumer loads it from."""
    with answered():
        check_there([run_folder])
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
        from train.baselines.launch import Trial
        from train.baselines.sweep import sweep
        from train.data.pickle_layouts import load_stamps
        from train.data.stamp_set import source_of
        from train.experiments.device import choose_device

        trial = Trial(choose_device(device), umap=False)
        stamps = load_stamps(single(data))
        source = source_of(data[0], stamps, origin)
        console.print(sweep(experiment, stamps, source, points, out / experiment.run, trial))


def _warn(experiment: Experiment, settings: list[str]) -> None:
    """Of settings that change nothing, before hours go into the run."""
    for line in unread(experiment, settings):
        messages.print(Text.assemble(("warning:", "yellow"), f" --set {line}"), soft_wrap=True)


def _told(line: str) -> None:
    console.print(line, highlight=False)
