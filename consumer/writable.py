"""Paths that a command is to write: looked at before anything is read, so that hours of work have a place to go."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

from consumer.errors import OutputError


def check_files(
    files: Mapping[str, Path | None], inputs: Iterable[Path | None] = (), *, overwrite: bool = False
) -> None:
    """Raise OutputError where a file that is to be made cannot be, or would replace something.

    files: option → path, None for an option that was not given. inputs: files and folders that the command reads: no
    output is one of them, a link to one, or in such a folder. overwrite: files that exist may be replaced.
    """
    wanted = {option: path for option, path in files.items() if path is not None}
    read = [path for path in inputs if path is not None]
    for option, path in wanted.items():
        with _said(option, path):
            _check_not_read(option, path, read)
            _check_place(option, path)
    for (option, path), (other, same) in combinations(wanted.items(), 2):
        if _is(path, same):
            raise OutputError(f"{option} and {other} are both {same}; give each a file of its own")
    for option, path in wanted.items():
        if path.is_file() and not overwrite:
            raise OutputError(f"{option} {path} exists; add --overwrite to replace it, or write elsewhere")


def check_folder(option: str, folder: Path) -> None:
    """Raise OutputError unless `folder` is one that can be written, or can be made."""
    with _said(option, folder):
        there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        if not there.is_dir():
            raise OutputError(f"{option} {folder} cannot be a folder: {there} is a file; give another")
        _try(there)


def check_not_read(option: str, path: Path, inputs: Iterable[Path | None]) -> None:
    """Raise OutputError where `path` is an input, a link to one, or in a folder that is one."""
    with _said(option, path):
        _check_not_read(option, path, [one for one in inputs if one is not None])


def _check_not_read(option: str, path: Path, inputs: Iterable[Path]) -> None:
    for one in inputs:
        if _is(path, one):
            raise OutputError(f"{option} {path} is an input, {one}; write elsewhere")
        if one.is_dir() and _real(path).is_relative_to(_real(one)):
            raise OutputError(f"{option} {path} lies in an input, {one}; write elsewhere")


def _check_place(option: str, path: Path) -> None:
    if path.is_dir():
        raise OutputError(f"{option} {path} is a folder; give the name of a file")
    if path.exists() and not path.is_file():
        return  # a pipe or a terminal is written as it is
    folder = _real(path).parent
    if not folder.exists():
        raise OutputError(f"folder {path.parent} does not exist; make it, or write elsewhere")
    if not folder.is_dir():
        raise OutputError(f"{option} {path} cannot be written: {path.parent} is a file; give a folder")
    _try(folder)


def _try(folder: Path) -> None:
    """Only writing shows rights, read-only mounts and quotas. Raises OSError."""
    with tempfile.TemporaryFile(dir=folder):
        pass


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _is(path: Path, other: Path) -> bool:
    """Whether two names are of one file, by any kind of link."""
    return _real(path) == _real(other) or (path.exists() and other.exists() and path.samefile(other))


@contextmanager
def _said(option: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{option} {path} cannot be written: {error.strerror}; write elsewhere") from error
