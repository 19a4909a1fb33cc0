"""What the offline commands share: where they talk to, how they refuse, and which paths they may write."""

import errno
from pathlib import Path
from typing import Final

import typer
from rich.text import Text

from consumer import terminal

console = terminal.console(stderr=True)
FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def fail(error: Exception) -> typer.Exit:
    """Print an error of the user's on one line, with what to do about a full disk, and exit with status 2."""
    full = isinstance(error, OSError) and error.errno in FULL
    advice = "; free some room, and give the same command again" if full else ""
    said = Text.assemble(("error:", "red"), f" {terminal.printable(str(error))}{advice}")
    console.print(said, soft_wrap=True)
    return typer.Exit(2)


def check_free(path: Path, suffix: str = "", option: str = "--out") -> None:
    """Raises ValueError where `path` is taken, has another suffix or lies in no directory."""
    if not path.name.endswith(suffix):
        raise ValueError(f"{path} is no {suffix} file: give {option} a name that ends in {suffix}")
    if path.exists():
        raise ValueError(f"{path} exists: remove it, or give another {option}")
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent} is no directory: make it first, or give another {option}")
