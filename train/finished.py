"""Files that appear whole or not at all."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

UNNAMED: Final = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO)
"""What a write to an open file fails with, without naming it."""


@contextmanager
def finished(path: Path) -> Iterator[Path]:
    """A path to write to, renamed to `path` when the block ends well and removed when it does not.

    The OSError of a write that fails names `path`; any other, of a broker say, passes as it is.
    """
    partial = path.with_name(f".{path.name}.partial")
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
