"""The five classes under one roof: draw objects by key, read their light curves, group rows by class."""

from collections.abc import Callable

import numpy as np

from train.simulation.arrays import Floats, Ints
from train.simulation.random import Dice
from train.simulation.sources import artefact, asteroid, nucleus, supernova, variable
from train.simulation.sources.source import LABELS, Sources, concatenate, flux_of

DRAWERS: dict[str, Callable[[Dice, Ints, Ints], Sources]] = {
    "AGN": nucleus.draw, "SN": supernova.draw, "VS": variable.draw,
    "asteroid": asteroid.draw, "bogus": artefact.draw,
}  # fmt: skip
CURVES: dict[str, Callable[[Dice, Sources, Floats, Ints], Floats]] = {
    "AGN": nucleus.flux, "SN": supernova.flux, "VS": variable.flux,
    "asteroid": asteroid.flux, "bogus": artefact.flux,
}  # fmt: skip


def draw(dice: Dice, label: Ints, key: Ints, cycle: Ints) -> Sources:
    """The objects of each row; `label` indexes `LABELS`. Rows keep their order."""
    parts, rows = [], []
    for index, name in enumerate(LABELS):
        row = np.flatnonzero(label == index)
        if len(row):
            parts.append(DRAWERS[name](dice, key[row], cycle[row]))
            rows.append(row)
    return concatenate(parts).take(np.argsort(np.concatenate(rows), kind="stable"))


def flux(dice: Dice, sources: Sources, jd: Floats, band: Ints) -> Floats:
    """Point-source flux of each row at its date in its filter, DN at zero point 26."""
    out = np.zeros(len(sources))
    for index, name in enumerate(LABELS):
        row = np.flatnonzero(sources.label == index)
        if len(row):
            out[row] = CURVES[name](dice, sources.take(row), jd[row], band[row])
    return out


def reference_flux(sources: Sources, band: Ints) -> Floats:
    """Point-source flux in the reference image, DN at zero point 26: what does not vary, or the mean."""
    return flux_of(sources.mean(band))
