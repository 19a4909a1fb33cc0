"""`estampa models`: what a checkpoint is, what it was trained on, how well it did, and whether it is whole."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from model_zoo.checkpoint import WEIGHTS, Checkpoint, load, resolve
from model_zoo.errors import CheckpointError

app = typer.Typer(help="Read checkpoints: list those shipped, show one, verify one.", no_args_is_help=True)
console = Console()
errors = Console(stderr=True)

Name = Annotated[str, typer.Argument(help="A checkpoint's folder, or the name of one under model_zoo/weights.")]


@app.command("list")
def list_command(folder: Annotated[Path, typer.Option(help="Where to look.")] = WEIGHTS) -> None:
    """The checkpoints of a folder, with their ids, classes and held-out score."""
    table = Table("name", "model id", "encoder id", "classes", "held out, first alert, macro-F1")
    for path in sorted(folder.glob("*/model.json")):
        checkpoint = _loaded(str(path.parent))
        ids = checkpoint.model_id, checkpoint.encoder_id
        table.add_row(path.parent.name, *ids, ", ".join(checkpoint.classes), _headline(checkpoint.metadata))
    console.print(table)


@app.command("show")
def show_command(name: Name) -> None:
    """Configuration, classes in order, preprocessing, training data and scores."""
    checkpoint = _loaded(name)
    table = Table("what", "value", title=f"{checkpoint.name}", show_lines=False)
    for what, value in _description(checkpoint):
        table.add_row(what, value)
    console.print(table)


@app.command("verify")
def verify_command(name: Name) -> None:
    """Load strictly and recompute both ids from the content; exit 1 if anything differs."""
    checkpoint = _loaded(name)
    console.print(f"{checkpoint.name} is whole: model {checkpoint.model_id}, encoder {checkpoint.encoder_id}")


def _loaded(name: str) -> Checkpoint:
    try:
        return load(resolve(name))
    except CheckpointError as error:
        errors.print(f"[red]error:[/] {error}", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from error


def _description(checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    yield "model id", checkpoint.model_id
    yield "encoder id", checkpoint.encoder_id
    yield "classes", ", ".join(checkpoint.classes)
    yield "preprocessing", json.dumps(checkpoint.preprocessing.to_dict())
    yield "encoder", str(checkpoint.encoder_config)
    yield "mlp", str(checkpoint.mlp.config)
    yield "recurrent", str(checkpoint.recurrent.config)
    for what, value in checkpoint.metadata.items():
        yield from _lines(what, value)


def _lines(what: str, value: Any) -> Iterator[tuple[str, str]]:
    """A nested value of the card as lines, two levels deep; deeper ones as JSON."""
    if not isinstance(value, Mapping):
        yield what, str(value)
        return
    for name, part in value.items():
        yield f"{what}: {name}", json.dumps(part) if isinstance(part, (Mapping, list)) else str(part)


def _headline(metadata: Mapping[str, Any]) -> str:
    """The MLP's and the recurrent head's score on the first alert of unseen objects, where the card has them."""
    held = metadata.get("held_out", {})
    found = [held.get(f"{head}_first_alert", {}).get("f1") for head in ("mlp", "recurrent")]
    return " / ".join("—" if score is None else f"{score:.3f}" for score in found)
