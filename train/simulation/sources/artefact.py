"""Bogus alerts and their causes: what the detector, the optics and the subtraction leave behind.

Kinds tied to a bright star come back at the same place (`cycle` 0); the others are met once
(`cycle` is 2 × night + filter − 1, as for asteroids).
"""

import numpy as np

from train.simulation.images.exposure import is_dim
from train.simulation.random import Floats, Ints, KeyedRandom, Mask
from train.simulation.sources.source import NO_MAGNITUDE, SUBCLASSES, Sources, assemble, flux_of, place_sources
from train.simulation.survey import NIGHT_ZERO_JD, fields

ARTEFACT_KINDS = SUBCLASSES["bogus"]
ARTEFACT_SHARES = {
    "cosmic ray": 0.33, "hot pixel": 0.18, "dead pixel": 0.17, "dipole": 0.06, "residual": 0.09,
    "bleed": 0.04, "bad column": 0.04, "edge": 0.03, "ghost": 0.03, "streak": 0.03,
}  # fmt: skip
STAR_BOUND = np.isin(ARTEFACT_KINDS, ("dipole", "residual", "bleed"))
# magnitudes of the star at fault, brightest and faintest, by kind
STAR_MAGNITUDES = {"dipole": (13.5, 17.0), "residual": (12.8, 15.8), "bleed": (9.5, 12.0)}
# Share of exposures on which an artefact passes the threshold, in usual and in dim ones: thin clouds and twilight
# make a tenth of the real bogus alerts and next to none of the others.
CHANCE, DIM_CHANCE = 0.18, 1.0


def artefact_kind(random: KeyedRandom, key: Ints) -> Ints:
    """The kind of each artefact, an index into `KINDS`."""
    return random.choice([ARTEFACT_SHARES[kind] for kind in ARTEFACT_KINDS], "bogus type", key)


def artefact_cycle(random: KeyedRandom, key: Ints, night: int, band: Ints) -> Ints:
    """The cycle under which an artefact shows on an exposure."""
    return np.where(STAR_BOUND[artefact_kind(random, key)], 0, 2 * night + band - 1)


def artefact_appears(random: KeyedRandom, key: Ints, field: Ints, night: Ints, band: Ints) -> Mask:
    """Whether an artefact raises an alert on an exposure of its field."""
    chance = np.where(is_dim(random, field, night, band), DIM_CHANCE, CHANCE)
    shows: Mask = random.uniform("bogus appears", key, night, band) < chance
    return shows


def draw_artefacts(random: KeyedRandom, key: Ints, cycle: Ints) -> Sources:
    """The artefacts `key`; `amplitude` is their strength in pixel sigmas, `epoch` their angle."""
    kind = artefact_kind(random, key)
    bounds = np.array([STAR_MAGNITUDES.get(name, (NO_MAGNITUDE, NO_MAGNITUDE)) for name in ARTEFACT_KINDS])
    share = np.sqrt(random.uniform("bogus star", key))
    star = bounds[kind, 0] + (bounds[kind, 1] - bounds[kind, 0]) * share
    plane = 0.35 + np.exp(-np.abs(fields().galactic_latitude) / 14.0)
    return assemble(
        "bogus", key, cycle, place_sources(random, "bogus", plane, key, cycle),
        subclass=kind, mean_g=star, mean_r=star,
        amplitude=20.0 * np.exp(0.8 * random.normal("bogus strength", key, cycle)),
        epoch=random.between(0.0, np.pi, "bogus angle", key, cycle),
        period=random.uniform("bogus size", key, cycle),
    )  # fmt: skip


def artefact_flux(random: KeyedRandom, sources: Sources, jd: Floats, band: Ints) -> Floats:
    """The star's own flux, and on the exposures where its residual shows a tenth of it to either side."""
    night = np.floor(jd - NIGHT_ZERO_JD).astype(np.int64)
    shows = STAR_BOUND[sources.subclass] & artefact_appears(random, sources.key, sources.field, night, band)
    sign = np.where(random.uniform("bogus sign", sources.key, night, band) < 0.65, 1.0, -1.0)
    star = flux_of(sources.mean(band))
    changed: Floats = star * (1.0 + 0.1 * sign * shows)
    return changed
