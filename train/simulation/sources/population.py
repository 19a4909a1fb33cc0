"""The five classes under one roof: draw objects by key, read their light curves, group rows by class."""

from collections.abc import Callable

import numpy as np

from train.simulation.random import Floats, Ints, KeyedRandom
from train.simulation.sources import artefact
from train.simulation.sources.galaxies import draw_nuclei, draw_supernovae, nucleus_flux, supernova_flux
from train.simulation.sources.nearby import asteroid_flux, draw_asteroids, draw_variables, variable_flux
from train.simulation.sources.source import LABELS, Sources, concatenate_sources, flux_of

DRAWERS: dict[str, Callable[[KeyedRandom, Ints, Ints], Sources]] = {
    "AGN": draw_nuclei, "SN": draw_supernovae, "VS": draw_variables,
    "asteroid": draw_asteroids, "bogus": artefact.draw_artefacts,
}  # fmt: skip
CURVES: dict[str, Callable[[KeyedRandom, Sources, Floats, Ints], Floats]] = {
    "AGN": nucleus_flux, "SN": supernova_flux, "VS": variable_flux,
    "asteroid": asteroid_flux, "bogus": artefact.artefact_flux,
}  # fmt: skip


def draw_sources(random: KeyedRandom, label: Ints, key: Ints, cycle: Ints) -> Sources:
    """The objects of each row; `label` indexes `LABELS`. Rows keep their order."""
    parts, rows = [], []
    for index, name in enumerate(LABELS):
        row = np.flatnonzero(label == index)
        if len(row):
            parts.append(DRAWERS[name](random, key[row], cycle[row]))
            rows.append(row)
    return concatenate_sources(parts).take(np.argsort(np.concatenate(rows), kind="stable"))


def source_flux(random: KeyedRandom, sources: Sources, jd: Floats, band: Ints) -> Floats:
    """Point-source flux of each row at its date in its filter, DN at zero point 26."""
    out = np.zeros(len(sources))
    for index, name in enumerate(LABELS):
        row = np.flatnonzero(sources.label == index)
        if len(row):
            out[row] = CURVES[name](random, sources.take(row), jd[row], band[row])
    return out


def reference_flux(sources: Sources, band: Ints) -> Floats:
    """Point-source flux in the reference image, DN at zero point 26: what does not vary, or the mean."""
    return flux_of(sources.mean(band))
