"""Pixels that the survey gives as NaN: bad pixels grown to squares, saturated cores, strips at borders, ragged bands.

Shapes and rates follow the real stamps, of which 13 % have NaN, 1 to 2,149 pixels of 3,969.
"""

import numpy as np

from train.simulation.arrays import Mask

SIDE = 63
NATURAL_SHARE = 0.115  # with saturated neighbours and borders it comes to 13 %
SHAPES = ("square", "core", "strip", "ragged", "wedge", "segment")
SHARES = (0.50, 0.16, 0.13, 0.09, 0.03, 0.09)
SPARED_PIXELS = 4  # masked sources raise no alerts: a square stays this far from the middle
SCIENCE_ONLY = 0.05  # share of masked stamps whose template is whole


def _block(rng: np.random.Generator, size: int) -> Mask:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    reach = SIDE // 2
    while True:
        x, y = rng.integers(-reach - size // 2, reach + size // 2 + 1, 2)
        if max(abs(x), abs(y)) > size // 2 + SPARED_PIXELS:
            break
    low = np.maximum([y + reach - size // 2, x + reach - size // 2], 0)
    mask[low[0] : max(y + reach + size // 2 + 1, 0), low[1] : max(x + reach + size // 2 + 1, 0)] = True
    return mask


def _core(rng: np.random.Generator) -> Mask:
    size = int(rng.integers(15, 22))
    mask = _block(rng, size)
    rows, columns = np.nonzero(mask)
    if len(rows) == size * size:  # whole: round its corners by two pixels
        for row in (rows.min(), rows.max()):
            mask[row, [columns.min(), columns.min() + 1, columns.max() - 1, columns.max()]] = False
    return mask


def _strip(rng: np.random.Generator) -> Mask:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[:, : rng.integers(3, 25)] = True
    return mask


def _ragged(rng: np.random.Generator) -> Mask:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    edges = np.repeat(rng.integers(2, 18, 14), rng.integers(3, 9, 14))[:SIDE]
    for place, depth in enumerate(edges):
        mask[:depth, place] = True
    return mask


def _wedge(rng: np.random.Generator) -> Mask:
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    return np.asarray(x + rng.uniform(0.4, 2.5) * y < rng.uniform(15, 40))


def _segment(rng: np.random.Generator) -> Mask:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    column, start = rng.integers(0, SIDE // 2 - 6), rng.integers(0, SIDE - 10)
    mask[start : start + rng.integers(4, 40), column : column + rng.integers(1, 5)] = True
    return mask


def _turned(rng: np.random.Generator, mask: Mask) -> Mask:
    return np.rot90(mask, int(rng.choice([0, 2])))


def draw(rng: np.random.Generator) -> Mask:
    """One to three masked shapes on a 63×63 stamp; the middle is spared but by strips and bands that reach it."""
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    for _ in range(1 + int(rng.random() < 0.22) + int(rng.random() < 0.08)):
        shape = SHAPES[int(rng.choice(len(SHAPES), p=SHARES))]
        if shape == "square":
            mask |= _block(rng, 9)
        elif shape == "core":
            mask |= _core(rng)
        else:
            mask |= _turned(rng, {"strip": _strip, "ragged": _ragged, "wedge": _wedge, "segment": _segment}[shape](rng))
    return mask
