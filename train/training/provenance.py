"""What a run was made with, besides its settings and data: code, libraries and processor."""

import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import sklearn
import torch

ROOT: Final = Path(__file__).parents[2]
CPU: Final = Path("/proc/cpuinfo")


def code(root: Path = ROOT) -> str:
    """The commit of the checkout at `root`, `-dirty` after it where files differ from it; else the package's version.

    Only a checkout of our own counts: an installed package may lie within another project's.
    """
    git = shutil.which("git")
    if git and (root / ".git").exists():
        asked = [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        described = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603 - our own command line
        if described.returncode == 0:
            return f"commit {described.stdout.strip()}"
    return f"estampa {version('estampa')}"


def processor(table: Path = CPU) -> str:
    """The name of the CPU: Linux tells it in a table, other systems and some architectures do not."""
    lines = table.read_text(encoding="utf-8").splitlines() if table.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def environment(device: torch.device) -> dict[str, str]:
    """Versions of what computes, the commit, and the device."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "code": code(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu": processor(),
        "threads": str(torch.get_num_threads()),
    }
