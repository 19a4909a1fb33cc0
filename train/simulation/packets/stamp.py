"""Stamps as ZTF packs them: gzip of a FITS file with one header block, 63×63 unless a border cuts it."""

import numpy as np
from isal import igzip_lib

from train.simulation.arrays import Pixels
from train.simulation.survey import QUADRANT_COLUMNS, QUADRANT_ROWS

SIDE = 63
BLOCK_BYTES = 2880
# magic, deflate, no flags, no time (so that equal pixels give equal bytes), best compression, Unix
GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03"
GZIP_LEVEL = 1


def _card(text: str) -> bytes:
    return text.ljust(80).encode("ascii")


def header(columns: int, rows: int) -> bytes:
    """ZTF's header block; its SIMPLE card is off-standard, and readers must bear it."""
    cards = [
        "SIMPLE  =  T", "BITPIX  =                  -32", "NAXIS   =                    2",
        f"NAXIS1  = {columns:20d}", f"NAXIS2  = {rows:20d}", "BUNIT   = 'DN      '", "END",
    ]  # fmt: skip
    return b"".join(_card(card) for card in cards).ljust(BLOCK_BYTES)


def pack(image: Pixels) -> bytes:
    """The gzip-compressed FITS file of an image [row, column], float32 big-endian, padded to whole blocks."""
    data = np.ascontiguousarray(image, dtype=">f4").tobytes()
    padding = bytes(-len(data) % BLOCK_BYTES)
    rows, columns = image.shape
    whole = header(columns, rows) + data + padding
    compressed: bytes = igzip_lib.compress(whole, GZIP_LEVEL, igzip_lib.COMP_GZIP)
    return GZIP_HEADER + compressed[len(GZIP_HEADER) :]


def border_cut(column: float, row: float) -> tuple[slice, slice]:
    """(rows, columns) of a full stamp that lie on the quadrant, for a source at pixel (column, row) counted from 1."""
    cuts = []
    for place, size in ((row, QUADRANT_ROWS), (column, QUADRANT_COLUMNS)):
        centre = int(np.floor(place + 0.5))
        before, after = min(SIDE // 2, centre - 1), min(SIDE // 2, size - centre)
        cuts.append(slice(SIDE // 2 - before, SIDE // 2 + after + 1))
    return cuts[0], cuts[1]
