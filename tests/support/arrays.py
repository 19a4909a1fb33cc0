"""Arrays that a program wrote, read whole so that no file stays open."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an `.npz`, by name."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
