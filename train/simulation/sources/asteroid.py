"""Asteroids: nothing in the reference, a slight trail, a new objectId each time, a designation that stays.

`cycle` is 2 × night + filter − 1: a body is another source on each exposure.
"""

from dataclasses import replace

import numpy as np

from train.simulation.arrays import Floats, Ints
from train.simulation.random import Dice
from train.simulation.sources.cadence import NIGHT_ZERO_JD
from train.simulation.sources.source import BORDER_PIXELS, Sources, assemble, flux_of, place
from train.simulation.survey import PIXEL_DEG, QUADRANT_COLUMNS, QUADRANT_ROWS, fields, position

TYPE_SHARES = (0.95, 0.03, 0.02)
ARCSEC_AN_HOUR = np.array([33.0, 160.0, 16.0])
PAIR_HOURS = 0.53  # from one filter to the other
PIXEL_ARCSEC = PIXEL_DEG * 3600.0
EXPOSURE_HOURS = 30.0 / 3600.0
STAY_NIGHTS = 12  # a main-belt body crosses a field of 7 degrees in about so many nights
COLOUR = 0.55
FAINTEST, BRIGHTEST = 20.9, 14.0


def cycle_of(night: int | Ints, band: Ints) -> Ints:
    """The cycle of a body on one exposure."""
    return np.asarray(2 * night + band - 1, dtype=np.int64)


def _clamp(pixel: Floats, size: int) -> Floats:
    return np.clip(pixel, BORDER_PIXELS, size - BORDER_PIXELS)


def draw(dice: Dice, key: Ints, cycle: Ints) -> Sources:
    """The bodies `key` on the exposures `cycle`; `period` is the rate in pixels an hour, `epoch` its direction."""
    night, red = cycle // 2, cycle % 2
    near_ecliptic = np.exp(-np.abs(fields().ecliptic_latitude) / 9.0) + 0.01
    where = place(dice, "asteroid", near_ecliptic, key, night, night // STAY_NIGHTS)
    kind = dice.choice(TYPE_SHARES, "asteroid type", key)
    rate = ARCSEC_AN_HOUR[kind] / PIXEL_ARCSEC * np.exp(0.3 * dice.normal("asteroid rate", key, night))
    heading = dice.between(0.0, 2.0 * np.pi, "asteroid heading", key)
    column = _clamp(where.column + red * PAIR_HOURS * rate * np.cos(heading), QUADRANT_COLUMNS)
    row = _clamp(where.row + red * PAIR_HOURS * rate * np.sin(heading), QUADRANT_ROWS)
    ra, dec = position(where.field, where.channel, column, row)
    size = np.maximum(FAINTEST + np.log10(dice.uniform("asteroid magnitude", key)) / 0.37, BRIGHTEST)
    spin = 0.15 * dice.normal("asteroid spin", key, cycle)
    return assemble(
        "asteroid", key, cycle, replace(where, column=column, row=row, ra=ra, dec=dec),
        subclass=kind, period=rate, epoch=heading, amplitude=size + spin,
    )  # fmt: skip


def trail(sources: Sources) -> Floats:
    """Pixels that each body moves during an exposure."""
    return sources.period * EXPOSURE_HOURS


def flux(dice: Dice, sources: Sources, jd: Floats, band: Ints) -> Floats:
    """Flux at zero point 26 where the row is the body's own exposure, else 0."""
    del dice  # all is in the columns
    night = np.floor(jd - NIGHT_ZERO_JD).astype(np.int64)
    own = sources.cycle == cycle_of(night, band)
    return np.where(own, flux_of(sources.amplitude + COLOUR * (band == 1)), 0.0)
