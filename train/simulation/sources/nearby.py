"""Variable stars, crowded towards the galactic plane, and asteroids.

An asteroid has nothing in the reference, a slight trail, a new objectId each time, and a designation that stays. Its
`cycle` is 2 × night + filter − 1: a body is another source on each exposure.
"""

from dataclasses import replace

import numpy as np

from train.simulation.random import Floats, Ints, KeyedRandom
from train.simulation.sources.source import BORDER_PIXELS, Sources, assemble, flux_of, place_sources
from train.simulation.survey import NIGHT_ZERO_JD, PIXEL_DEG, QUADRANT_COLUMNS, QUADRANT_ROWS, fields, position

VARIABLE_SHARES = (0.26, 0.30, 0.18, 0.07, 0.09, 0.10)
RRL, EB, LPV, CV, DSCT, ROTATING = range(6)
# bounds of log10(period / day), of the g amplitude in magnitudes, and of the mean r magnitude
LOG_PERIOD = np.array([[-0.6, 0.0], [-0.7, 1.0], [1.9, 2.7], [1.3, 2.0], [-1.3, -0.7], [0.0, 1.5]])
AMPLITUDE = np.array([[0.4, 1.25], [0.2, 1.0], [0.4, 2.6], [2.0, 4.5], [0.08, 0.5], [0.06, 0.35]])
MEAN_MAGNITUDE = np.array([[14.0, 18.8], [13.5, 18.0], [12.8, 17.0], [18.5, 20.8], [13.5, 17.0], [13.2, 17.0]])
STAR_COLOUR = np.array([0.25, 0.5, 1.4, 0.1, 0.3, 0.8])
RED_AMPLITUDE = np.array([0.72, 0.95, 0.8, 0.9, 0.75, 0.8])


def _within(bounds: Floats, share: Floats) -> Floats:
    return bounds[..., 0] + (bounds[..., 1] - bounds[..., 0]) * share


def draw_variables(random: KeyedRandom, key: Ints, cycle: Ints) -> Sources:
    """The stars `key`; `cycle` is 0."""
    kind = random.choice(VARIABLE_SHARES, "vs type", key)
    mean = _within(MEAN_MAGNITUDE[kind], random.uniform("vs magnitude", key) ** 0.9)
    colour = STAR_COLOUR[kind] + 0.15 * random.normal("vs colour", key)
    plane = 0.35 + np.exp(-np.abs(fields().galactic_latitude) / 14.0)
    return assemble(
        "VS", key, cycle, place_sources(random, "vs", plane, key, cycle),
        subclass=kind, mean_g=mean + colour, mean_r=mean,
        period=10.0 ** _within(LOG_PERIOD[kind], random.uniform("vs period", key)),
        amplitude=_within(AMPLITUDE[kind], random.uniform("vs amplitude", key)),
        epoch=random.uniform("vs phase", key),
        width=random.between(0.04, 0.12, "vs eclipse width", key),
    )  # fmt: skip


def _pulsation(phase: Floats) -> Floats:
    """Saw-tooth of unit range about zero: a fast rise over 15 % of the period, a slow fall."""
    return np.where(phase < 0.15, 0.5 - phase / 0.15, -0.5 + (phase - 0.15) / 0.85)


def _eclipses(phase: Floats, width: Floats) -> Floats:
    """Magnitudes lost in a primary eclipse of depth 1 and a secondary of depth 0.4."""
    first = np.minimum(phase, 1.0 - phase)
    second = np.abs(phase - 0.5)
    result: Floats = np.exp(-0.5 * (first / width) ** 2) + 0.4 * np.exp(-0.5 * (second / width) ** 2)
    return result


def _outbursts(phase: Floats, period: Floats) -> Floats:
    """Magnitudes gained (negative): up in a day, down in about eight."""
    days = phase * period
    return -np.where(days < 1.0, days, np.exp(-np.maximum(days - 3.0, 0.0) / 2.5))


def _departure(kind: Ints, phase: Floats, period: Floats, width: Floats) -> Floats:
    wave = 0.5 * np.cos(2.0 * np.pi * phase)
    choices = [kind == RRL, kind == EB, kind == CV]
    shapes = [_pulsation(phase), _eclipses(phase, width), _outbursts(phase, period)]
    return np.select(choices, shapes, default=wave + 0.08 * np.cos(4.0 * np.pi * phase))


def variable_flux(random: KeyedRandom, sources: Sources, jd: Floats, band: Ints) -> Floats:
    """Flux of the star at zero point 26."""
    del random  # all is in the columns
    phase = ((jd - 2_458_000.0) / sources.period + sources.epoch) % 1.0
    swing = sources.amplitude * np.where(band == 1, 1.0, RED_AMPLITUDE[sources.subclass])
    departure = _departure(sources.subclass, phase, sources.period, sources.width)
    return flux_of(sources.mean(band) + swing * departure)


ASTEROID_SHARES = (0.95, 0.03, 0.02)
ARCSEC_AN_HOUR = np.array([33.0, 160.0, 16.0])
PAIR_HOURS = 0.53  # from one filter to the other
PIXEL_ARCSEC = PIXEL_DEG * 3600.0
EXPOSURE_HOURS = 30.0 / 3600.0
STAY_NIGHTS = 12  # a main-belt body crosses a field of 7 degrees in about so many nights
ASTEROID_COLOUR = 0.55
FAINTEST, BRIGHTEST = 20.9, 14.0


def asteroid_cycle(night: int | Ints, band: Ints) -> Ints:
    """The cycle of a body on one exposure."""
    return np.asarray(2 * night + band - 1, dtype=np.int64)


def _clamp(pixel: Floats, size: int) -> Floats:
    return np.clip(pixel, BORDER_PIXELS, size - BORDER_PIXELS)


def draw_asteroids(random: KeyedRandom, key: Ints, cycle: Ints) -> Sources:
    """The bodies `key` on the exposures `cycle`; `period` is the rate in pixels an hour, `epoch` its direction."""
    night, red = cycle // 2, cycle % 2
    near_ecliptic = np.exp(-np.abs(fields().ecliptic_latitude) / 9.0) + 0.01
    where = place_sources(random, "asteroid", near_ecliptic, key, night, night // STAY_NIGHTS)
    kind = random.choice(ASTEROID_SHARES, "asteroid type", key)
    rate = ARCSEC_AN_HOUR[kind] / PIXEL_ARCSEC * np.exp(0.3 * random.normal("asteroid rate", key, night))
    heading = random.between(0.0, 2.0 * np.pi, "asteroid heading", key)
    column = _clamp(where.column + red * PAIR_HOURS * rate * np.cos(heading), QUADRANT_COLUMNS)
    row = _clamp(where.row + red * PAIR_HOURS * rate * np.sin(heading), QUADRANT_ROWS)
    ra, dec = position(where.field, where.channel, column, row)
    size = np.maximum(FAINTEST + np.log10(random.uniform("asteroid magnitude", key)) / 0.37, BRIGHTEST)
    spin = 0.15 * random.normal("asteroid spin", key, cycle)
    return assemble(
        "asteroid", key, cycle, replace(where, column=column, row=row, ra=ra, dec=dec),
        subclass=kind, period=rate, epoch=heading, amplitude=size + spin,
    )  # fmt: skip


def trail_pixels(sources: Sources) -> Floats:
    """Pixels that each body moves during an exposure."""
    return sources.period * EXPOSURE_HOURS


def asteroid_flux(random: KeyedRandom, sources: Sources, jd: Floats, band: Ints) -> Floats:
    """Flux at zero point 26 where the row is the body's own exposure, else 0."""
    del random  # all is in the columns
    night = np.floor(jd - NIGHT_ZERO_JD).astype(np.int64)
    own = sources.cycle == asteroid_cycle(night, band)
    return np.where(own, flux_of(sources.amplitude + ASTEROID_COLOUR * (band == 1)), 0.0)
