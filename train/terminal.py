"""What the offline commands share: where they talk to, how they refuse, and which paths they may write."""

from pathlib import Path

import typer
from rich.console import Console

console = Console(stderr=True)


def fail(error: Exception) -> typer.Exit:
    """Print an error of the user's on one line, and exit with status 2."""
    console.print(f"[red]error:[/red] {error}", soft_wrap=True, highlight=False)
    return typer.Exit(2)


def check_free(path: Path, suffix: str = "") -> None:
    """Raises ValueError where `path` is taken, has another suffix or lies in no directory."""
    if not path.name.endswith(suffix):
        raise ValueError(f"{path} is no {suffix} file: give --out a name that ends in {suffix}")
    if path.exists():
        raise ValueError(f"{path} exists: remove it, or give another --out")
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent} is no directory: make it first, or give another --out")
