"""What the offline commands share: the console, and errors as one line."""

import errno
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


def note(text: str) -> None:
    """Print a line about what a command does, as it is: no markup, no colours, no line breaks."""
    console.print(terminal.printable(text), highlight=False, markup=False, soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning on one line."""
    console.print(Text.assemble(("warning:", "yellow"), f" {terminal.printable(text)}"), soft_wrap=True)
