"""Files that appear whole or not at all, and what is checked of their paths before the work begins."""

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from consumer.errors import OutputError
from consumer.writable import check_files

UNNAMED: Final = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO)
"""What a write to an open file fails with, without naming it."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path to write to, renamed to `path` when the block ends well and removed when it does not.

    The OSError of a write that fails names `path`; any other, of a broker say, passes as it is.
    """
    partial = _partial(path)
    try:
        yield partial
        partial.rename(path)
    except OSError as error:
        if error.errno in UNNAMED:
            error.filename = error.filename or str(path)
        raise
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)


def check_free(path: Path, suffix: str = "", option: str = "--out") -> None:
    """Raises ValueError where `path` exists, has another suffix, or cannot be written: its folder is tried."""
    if not path.name.endswith(suffix):
        raise ValueError(f"{path} is no {suffix} file; give {option} a name that ends in {suffix}")
    if os.path.lexists(path):
        raise ValueError(f"{path} exists; remove it, or give another {option}")
    try:
        check_files({option: path})
        with suppress(FileNotFoundError):
            _partial(path).lstat()
    except OutputError as error:
        raise ValueError(str(error)) from error
    except OSError as error:  # the name itself may fit where this longer one does not
        raise ValueError(f"{option} {path} cannot be written: {error.strerror}; give a shorter name") from error


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def write_text(path: Path, text: str) -> None:
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """An uncompressed `.npz`, which can be mapped; no array of objects, which would be a pickle."""
    with atomic_write(path) as partial, partial.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
