"""A served model on disk: `model.safetensors` and `model.json` in one folder, identified by its content.

Loading is strict: another format, architecture, set of tensors or hash is an error. No pickle is involved.
"""

import hashlib
import json
import reprlib
import textwrap
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch
from torch import nn

from model_zoo.classifier.encoder import EncoderConfig, build_encoder, freeze
from model_zoo.classifier.mlp import Mlp, MlpConfig
from model_zoo.classifier.recurrent import Recurrent, RecurrentConfig
from model_zoo.errors import CheckpointError
from model_zoo.preprocess import Preprocessing
from model_zoo.shipped import WEIGHTS, resolve

__all__ = ["FORMAT", "WEIGHTS", "Checkpoint", "load", "resolve", "save"]

FORMAT: Final = "estampa-checkpoint-1"
ID_LENGTH: Final = 16
LARGEST_CARD: Final = 16 * 2**20
LARGEST_WEIGHTS: Final = 2**30
"""Bytes. The shipped models have 12 thousand and a million."""
DEEPEST_CARD: Final = 32
LONGEST_LINE: Final = 300
LONGEST_NAME: Final = 200
"""Bytes of UTF-8: a name is in every record."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that serving needs. `metadata` is for people: what it was trained on, scores, versions."""

    name: str
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    encoder_config: EncoderConfig
    encoder: nn.Sequential
    mlp: Mlp
    recurrent: Recurrent
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def encoder_id(self) -> str:
        """Hash of encoder weights, architecture and preprocessing: the same id, the same latents."""
        return _digest(self._encoder_description(), _prefixed("encoder", self.encoder))

    @property
    def model_id(self) -> str:
        """Hash of the whole: encoder, heads, classes in order."""
        return _digest(self._description(), self._tensors())

    @property
    def card_id(self) -> str:
        """Hash of the model and of what people read of it: name and metadata."""
        read = json.loads(json.dumps({"name": self.name, "metadata": self.metadata, "model_id": self.model_id}))
        return _digest(read, {})

    def _encoder_description(self) -> dict[str, Any]:
        return {"encoder": asdict(self.encoder_config), "preprocessing": self.preprocessing.to_dict()}

    def _description(self) -> dict[str, Any]:
        heads = {"mlp": self.mlp.config.to_dict(), "recurrent": asdict(self.recurrent.config)}
        return self._encoder_description() | heads | {"classes": list(self.classes)}

    def _tensors(self) -> dict[str, torch.Tensor]:
        return _prefixed("encoder", self.encoder) | _prefixed("mlp", self.mlp) | _prefixed("recurrent", self.recurrent)


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Write `checkpoint` into `folder`, made if need be, whole or not at all. Raises OSError naming what it cannot."""
    card = {
        "format": FORMAT,
        "name": checkpoint.name,
        "model_id": checkpoint.model_id,
        "encoder_id": checkpoint.encoder_id,
        "description": checkpoint._description(),
        "metadata": checkpoint.metadata,
        "card_id": checkpoint.card_id,
    }
    contents = {
        "model.safetensors": safetensors.torch.save(checkpoint._tensors()),
        "model.json": (json.dumps(card, indent=2) + "\n").encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    partial = {name: folder / f".{name}.partial" for name in contents}
    try:
        for name, content in contents.items():
            partial[name].write_bytes(content)
        for name, path in partial.items():
            path.replace(folder / name)
    except OSError as error:
        error.filename = error.filename or str(folder)  # a write names no file
        raise
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)


def load(folder: Path) -> Checkpoint:
    """Read, build and verify. Modules come frozen, in eval mode, on the CPU.

    Raises CheckpointError on any difference between the card, the tensors and this code.
    """
    weights = folder / "model.safetensors"
    try:
        card = json.loads(_sized(folder / "model.json", LARGEST_CARD).read_text(encoding="utf-8"))
        shapes = _shapes(_sized(weights, LARGEST_WEIGHTS))
    except (OSError, ValueError, RecursionError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"checkpoint {folder} cannot be read: {_line(error)}") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise CheckpointError(f"checkpoint {folder} is not of format {FORMAT}; export it again")
    try:
        _check_card(card)
        with torch.device("meta"):
            _build(card, shapes)  # takes no memory, whatever the card says
        checkpoint = _build(card, safetensors.torch.load_file(weights))
        _check_numbers(checkpoint)
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise CheckpointError(f"checkpoint {folder} does not fit this version of estampa: {_line(error)}") from error
    _verify(checkpoint, card, folder)
    return checkpoint


def _line(error: Exception) -> str:
    """What it says, in one line of bounded length: torch has one for each tensor."""
    return textwrap.shorten(str(error), LONGEST_LINE, placeholder=" …")


def _sized(path: Path, most: int) -> Path:
    """The path of a plain file of bounded size. Raises OSError or ValueError for another."""
    if not path.is_file():
        raise ValueError(f"{path.name} is no file")
    if (size := path.stat().st_size) > most:
        raise ValueError(f"{path.name} has {size} bytes; a checkpoint's has {most} at the most")
    return path


def _shapes(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file by its header, without their values."""
    with safetensors.safe_open(path, "pt") as file:
        return {name: torch.empty(file.get_slice(name).get_shape(), device="meta") for name in file.keys()}  # noqa: SIM118 - no dict


def _check_card(card: dict[str, Any]) -> None:
    """Raise KeyError, TypeError or ValueError where a part of the card is not of its type."""
    description = card["description"]
    for name, part in {"description": description, "metadata": card["metadata"]}.items():
        _check_type(name, part, dict)
    for name in ("encoder", "preprocessing", "mlp", "recurrent"):
        _check_type(name, description[name], dict)
    _check_type("metadata of mlp", description["mlp"].get("metadata", []), list)
    _check_type("channels", description["preprocessing"]["channels"], list)
    classes = description["classes"]
    _check_type("classes", classes, list)
    if not classes or len(set(classes)) < len(classes):
        raise ValueError("classes must be some, each once")
    for text in (card["name"], *classes):
        _check_type("name", text, str)
        if not text or len(text.encode()) > LONGEST_NAME:
            raise ValueError(f"a name has {len(text)} letters; give 1 to {LONGEST_NAME}")
    _check_depth(card)


def _check_type(name: str, part: Any, kind: type) -> None:
    if not isinstance(part, kind):
        raise TypeError(f"its {name} is {reprlib.repr(part)}, of another type than {kind.__name__}")


def _check_depth(part: Any, left: int = DEEPEST_CARD) -> None:
    """What shows a card goes down into it, as JSON's writer does."""
    if left == 0:
        raise ValueError(f"its card nests deeper than {DEEPEST_CARD}")
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for one in inner:
        _check_depth(one, left - 1)


def _check_numbers(checkpoint: Checkpoint) -> None:
    """Raise ValueError where a tensor would make probabilities that are no numbers."""
    for name, tensor in checkpoint._tensors().items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"tensor {name} holds values that are not finite")
        divides = name.rpartition(".")[2] in {"deviation", "temperature"}
        if divides and not (tensor > 0).all():
            raise ValueError(f"tensor {name} holds values that are not above 0")
        if name.endswith("running_var") and not (tensor >= 0).all():
            raise ValueError(f"tensor {name} holds values below 0")


def _build(card: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Checkpoint:
    """Modules with these tensors, whose names and shapes must be theirs."""
    description = card["description"]
    encoder_config = EncoderConfig(**description["encoder"])
    checkpoint = Checkpoint(
        name=card["name"],
        preprocessing=Preprocessing.from_dict(description["preprocessing"]),
        classes=tuple(description["classes"]),
        encoder_config=encoder_config,
        encoder=build_encoder(encoder_config),
        mlp=Mlp(MlpConfig.from_dict(description["mlp"])),
        recurrent=Recurrent(RecurrentConfig(**description["recurrent"])),
        metadata=card["metadata"],
    )
    parts = {"encoder": checkpoint.encoder, "mlp": checkpoint.mlp, "recurrent": checkpoint.recurrent}
    nn.ModuleDict(parts).load_state_dict(tensors, strict=True)
    for part in parts.values():
        freeze(part)
    _check_fit(checkpoint)
    return checkpoint


def _check_fit(checkpoint: Checkpoint) -> None:
    """Raise ValueError where the parts are each sound and do not go together."""
    cut, encoder = checkpoint.preprocessing, checkpoint.encoder_config
    if (len(cut.channels), cut.size) != (encoder.channels, encoder.size):
        made, taken = f"{len(cut.channels)}×{cut.size}", f"{encoder.channels}×{encoder.size}"
        raise ValueError(f"its preprocessing makes {made} pixels and its encoder takes {taken}")
    for name, head in (("mlp", checkpoint.mlp.config), ("recurrent", checkpoint.recurrent.config)):
        if (head.latent, head.classes) != (encoder.latent, len(checkpoint.classes)):
            wanted = f"{encoder.latent} latents and {len(checkpoint.classes)} classes"
            raise ValueError(f"its {name} is of {head.latent} latents and {head.classes} classes; {wanted} are needed")


def _verify(checkpoint: Checkpoint, card: dict[str, Any], folder: Path) -> None:
    written = {"card_id"} & card.keys()  # earlier versions wrote none
    for key in ("encoder_id", "model_id", *written):
        found, said = getattr(checkpoint, key), card.get(key)
        if found != said:
            raise CheckpointError(
                f"checkpoint {folder}: {key} is {found} by content, {said} by its card; it was altered"
            )


def _prefixed(prefix: str, module: nn.Module) -> dict[str, torch.Tensor]:
    return {f"{prefix}.{name}": tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}


def _digest(description: dict[str, Any], tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:ID_LENGTH]
