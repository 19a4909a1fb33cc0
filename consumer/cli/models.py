"""`estampa models`: what a checkpoint is, what it was trained on, how well it did."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from consumer.configuration.settings import ModelSettings
from consumer.errors import ConfigError
from consumer.terminal import show, table
from model_zoo.shipped import WEIGHTS, resolve

if TYPE_CHECKING:  # torch comes with it
    from model_zoo.checkpoint import Checkpoint

app = typer.Typer(help="Read checkpoints: list those shipped, show one, verify one.", no_args_is_help=True)
CheckpointName = Annotated[str, typer.Argument(help="A checkpoint's folder, or the name of a shipped one.")]


@app.command(name="list")
def list_models(folder: Annotated[Path | None, typer.Option(help="Default: those shipped.")] = None) -> None:
    """List checkpoints with their ids and scores."""
    if folder and not folder.is_dir():
        raise ConfigError(f"--folder {folder} is not a folder; give one that holds folders of checkpoints")
    show(listing(folder))


@app.command(name="show")
def show_model(name: CheckpointName) -> None:
    """Show a checkpoint's configuration, classes, preprocessing, training data and scores."""
    folder = resolve(name)
    from model_zoo.checkpoint import load

    show(description(load(folder)))


@app.command(name="verify")
def verify_model(
    name: CheckpointName,
    public_key: Annotated[str | None, typer.Option(help="minisign's: it must be signed by this key's owner.")] = None,
) -> None:
    """Load a checkpoint strictly and recompute its ids from its content; exit 1 if anything differs."""
    from consumer.cli.runtime import load_checkpoint

    found = load_checkpoint(ModelSettings(checkpoint=name, public_key=public_key))
    signed = "whole, and signed by this key's owner" if public_key else "whole"
    show(f"{found.name} is {signed}: model {found.model_id}, encoder {found.encoder_id}")


def listing(folder: Path | None) -> Table:
    """The checkpoints of a folder, by default those shipped, with their ids, classes and held-out score."""
    from model_zoo.checkpoint import load

    rows = []
    for path in sorted((folder or WEIGHTS).glob("*/model.json")):
        checkpoint = load(path.parent)
        ids = checkpoint.model_id, checkpoint.encoder_id
        rows.append((path.parent.name, *ids, ", ".join(checkpoint.classes), _headline(checkpoint.metadata)))
    return table("models", ["name", "model id", "encoder id", "classes", "held out, first alert, macro-F1"], rows)


def description(checkpoint: "Checkpoint") -> Table:
    """Configuration, classes in order, preprocessing, training data and scores."""
    return table(checkpoint.name, ["what", "value"], _description(checkpoint))


def _description(checkpoint: "Checkpoint") -> Iterator[tuple[str, str]]:
    yield "model id", checkpoint.model_id
    yield "encoder id", checkpoint.encoder_id
    yield "classes", ", ".join(checkpoint.classes)
    yield "preprocessing", json.dumps(checkpoint.preprocessing.to_dict())
    yield "encoder", str(checkpoint.encoder_config)
    yield "mlp", str(replace(checkpoint.mlp.config, metadata=()))
    yield "metadata", ", ".join(column.name for column in checkpoint.mlp.config.metadata) or "none: images only"
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
    found = [_part(_part(_part(metadata, "held_out"), f"{head}_first_alert"), "f1") for head in ("mlp", "recurrent")]
    return " / ".join(f"{score:.3f}" if isinstance(score, int | float) else "—" for score in found)


def _part(of: Any, name: str) -> Any:
    """Metadata are free: what a card of ours has may be missing from another's, or be of another type."""
    return of.get(name) if isinstance(of, Mapping) else None
