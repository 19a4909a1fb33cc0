"""Variable stars: pulsating, eclipsing, long-period, spotted and eruptive, crowded towards the galactic plane."""

import numpy as np

from train.simulation.arrays import Floats, Ints
from train.simulation.random import Dice
from train.simulation.sources.source import Sources, assemble, flux_of, place
from train.simulation.survey import fields

TYPE_SHARES = (0.26, 0.30, 0.18, 0.07, 0.09, 0.10)
RRL, EB, LPV, CV, DSCT, ROTATING = range(6)
# bounds of log10(period / day), of the g amplitude in magnitudes, and of the mean r magnitude
LOG_PERIOD = np.array([[-0.6, 0.0], [-0.7, 1.0], [1.9, 2.7], [1.3, 2.0], [-1.3, -0.7], [0.0, 1.5]])
AMPLITUDE = np.array([[0.4, 1.25], [0.2, 1.0], [0.4, 2.6], [2.0, 4.5], [0.08, 0.5], [0.06, 0.35]])
MEAN = np.array([[14.0, 18.8], [13.5, 18.0], [12.8, 17.0], [18.5, 20.8], [13.5, 17.0], [13.2, 17.0]])
COLOUR = np.array([0.25, 0.5, 1.4, 0.1, 0.3, 0.8])
RED_AMPLITUDE = np.array([0.72, 0.95, 0.8, 0.9, 0.75, 0.8])


def _within(bounds: Floats, share: Floats) -> Floats:
    return bounds[..., 0] + (bounds[..., 1] - bounds[..., 0]) * share


def draw(dice: Dice, key: Ints, cycle: Ints) -> Sources:
    """The stars `key`; `cycle` is 0."""
    kind = dice.choice(TYPE_SHARES, "vs type", key)
    mean = _within(MEAN[kind], dice.uniform("vs magnitude", key) ** 0.9)
    colour = COLOUR[kind] + 0.15 * dice.normal("vs colour", key)
    plane = 0.35 + np.exp(-np.abs(fields().galactic_latitude) / 14.0)
    return assemble(
        "VS", key, cycle, place(dice, "vs", plane, key, cycle),
        subclass=kind, mean_g=mean + colour, mean_r=mean,
        period=10.0 ** _within(LOG_PERIOD[kind], dice.uniform("vs period", key)),
        amplitude=_within(AMPLITUDE[kind], dice.uniform("vs amplitude", key)),
        epoch=dice.uniform("vs phase", key),
        width=dice.between(0.04, 0.12, "vs eclipse width", key),
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


def flux(dice: Dice, sources: Sources, jd: Floats, band: Ints) -> Floats:
    """Flux of the star at zero point 26."""
    del dice  # all is in the columns
    phase = ((jd - 2_458_000.0) / sources.period + sources.epoch) % 1.0
    swing = sources.amplitude * np.where(band == 1, 1.0, RED_AMPLITUDE[sources.subclass])
    departure = _departure(sources.subclass, phase, sources.period, sources.width)
    return flux_of(sources.mean(band) + swing * departure)
