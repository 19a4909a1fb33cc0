"""What a command shows: on any terminal, into any pipe, whatever the text holds.

Names, messages and paths come from packets, headers and files. Here they are text: never markup, never control codes.
"""

import errno
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Literal

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from consumer.errors import OutputError


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of a table, where its name alone does not say all."""

    name: str
    justify: Literal["left", "right"] = "left"
    footer: str = ""


def prepare_streams() -> None:
    """Call it first: no text then ends a program because the terminal has no letter for it, or because it is closed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us: the next file we open would take its number
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
        elif isinstance(stream, TextIOWrapper) and mode == "w":
            stream.reconfigure(errors="backslashreplace")


class PlainConsole(Console):
    """Raises where the reader of a pipe has gone, as for any other failure; rich would end the program silently."""

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - rich calls it where it has caught the BrokenPipeError


def console(*, stderr: bool = False, quiet: bool = False, width: int | None = None) -> Console:
    """A console that takes text as it is."""
    return PlainConsole(stderr=stderr, quiet=quiet, width=width, markup=False, emoji=False, highlight=False)


def show(*parts: RenderableType) -> None:
    """Print for a person to read. Raises OutputError where stdout does not take it."""
    with to_stdout():
        console().print(*parts)


def write(text: str) -> None:
    """Print for a program to read. Raises OutputError where stdout does not take it."""
    with to_stdout():
        sys.stdout.write(text)


def printable(text: str) -> str:
    """The text on one line, what is no letter of it spelled out: a name may hold codes that a terminal obeys."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def table(
    title: str,
    columns: Sequence[TableColumn | str],
    rows: Iterable[Sequence[str | Text]],
    *,
    header: bool = True,
    footer: bool = False,
) -> Table:
    """A table of text. A cell that is styled is given as rich's Text, and holds no foreign text."""
    made = Table(title=Text(printable(title)), title_justify="left", show_header=header, show_footer=footer)
    for column in columns:
        one = TableColumn(column) if isinstance(column, str) else column
        made.add_column(Text(printable(one.name)), Text(one.footer), justify=one.justify, overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row))
    return made


@contextmanager
def to_stdout() -> Iterator[None]:
    """Within it stdout is written. Raises OutputError where stdout does not take it: closed, or on a full disk.

    What fails is said once: what stdout still holds goes nowhere, or Python's own end would fail on it too.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EBADF} or error.filename:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"stdout cannot be written: {error.strerror}") from error
