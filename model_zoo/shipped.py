"""The checkpoints that are shipped, and where one of a given name lies. It imports no torch, for quick errors."""

from pathlib import Path
from typing import Final

from model_zoo.errors import CheckpointError

WEIGHTS: Final = Path(__file__).parent / "weights"


def resolve(name: str) -> Path:
    """Folder of a checkpoint given by path, or by name under `model_zoo/weights`.

    Raises CheckpointError naming what there is.
    """
    for folder in (Path(name), WEIGHTS / name):
        if (folder / "model.json").is_file():
            return folder
    shipped = ", ".join(sorted(path.parent.name for path in WEIGHTS.glob("*/model.json"))) or "none"
    raise CheckpointError(
        f"no checkpoint at {name!r}: give a folder with model.json, or one of those shipped ({shipped})"
    )
