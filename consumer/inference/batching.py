"""How many rows go through the encoder at once, proven at start not to change the answer for any of them.

A matrix library chooses its kernels by the shape of its input, and on some processors the last bits of a row then
depend on how many rows stand beside it. The answer that counts is a row's answer alone, on one thread.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

Shapes = tuple[int, ...]
"""Numbers of rows, descending. Without 1 among them, what is left over is padded to the last."""

CPU_SHAPES: Final[tuple[Shapes, ...]] = ((64, 32, 16, 8, 4, 2, 1), (1,))
"""On a CPU, 64 rows keep the feature maps in cache: larger pieces were three times slower an alert."""
GPU_SHAPES: Final[tuple[Shapes, ...]] = ((2048, 512, 128, 32, 8, 4, 2, 1), (512,), (1,))

Encode = Callable[[NDArray[np.intp], Shapes], Sequence[NDArray[np.float32]]]
"""Rows of a sample, by their numbers, in pieces of the given shapes → arrays with a row for each."""

log = structlog.get_logger()


def pieces(total: int, shapes: Shapes) -> Iterator[tuple[int, int, int]]:
    """(start, stop, rows to pad to) of the pieces in which `total` rows go through."""
    start = 0
    while start < total:
        rows = next((rows for rows in shapes if rows <= total - start), shapes[-1])
        stop = min(start + rows, total)
        yield start, stop, rows
        start = stop


def proven_shapes(encode: Encode, candidates: Sequence[Shapes]) -> Shapes:
    """The first of `candidates` in which no row of a sample depends on its batch, as large as the largest shape.

    The last candidate is taken untried: a row alone has no neighbours. On one thread, that is, for a library may share
    out even one row's sums: from then on torch has one.
    """
    for shapes in candidates[:-1]:
        if _independent(encode, shapes):
            return shapes
        log.warning("batch_shapes_refused", shapes=shapes, reason="an answer depends on the alerts beside it")
    torch.set_num_threads(1)
    return candidates[-1]


def _independent(encode: Encode, shapes: Shapes) -> bool:
    """Whether every row has its answer alone also in each place of a piece of each shape, to the last bit."""
    forth = np.arange(shapes[0])
    back = forth[::-1]
    alone = _alone(encode, forth, shapes)
    for rows in shapes:
        for order in (forth, back):
            parts = [encode(order[start : start + rows], shapes) for start in range(0, len(order), rows)]
            if not _equal([np.concatenate(part) for part in zip(*parts, strict=True)], [all_[order] for all_ in alone]):
                return False
    return True


def _alone(encode: Encode, numbers: NDArray[np.intp], shapes: Shapes) -> list[NDArray[np.float32]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = [encode(numbers[row : row + 1], shapes) for row in range(len(numbers))]
    finally:
        torch.set_num_threads(threads)
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def _equal(ours: Sequence[NDArray[np.float32]], theirs: Sequence[NDArray[np.float32]]) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))
