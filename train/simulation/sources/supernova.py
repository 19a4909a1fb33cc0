"""Supernovae: a rise and a decline in a host galaxy, nothing in the reference.

Light curves are the rise-and-fall form of Bazin et al. (2009), a plateau for type II, a second red maximum for Ia.
"""

import numpy as np

from train.simulation.arrays import Floats, Ints
from train.simulation.random import Dice
from train.simulation.sources import host
from train.simulation.sources.cadence import NIGHT_ZERO_JD
from train.simulation.sources.source import Sources, assemble, flux_of, place, uniform_weights

CYCLE_DAYS = 180.0  # a site hosts one supernova in each stretch of so many days
VISIBLE_DAYS = (-25.0, 120.0)
TYPE_SHARES = (0.68, 0.20, 0.05, 0.07)
FAINTEST_PEAK, BRIGHTEST_PEAK = 18.7, 14.0
ABSOLUTE_PEAK = np.array([-19.2, -17.2, -18.3, -17.7])
# e-folding times in days of rise and fall, in g and in r
RISE = np.array([[3.3, 3.8], [2.2, 2.6], [6.0, 7.0], [3.2, 3.8]])
FALL = np.array([[15.0, 24.0], [30.0, 60.0], [60.0, 80.0], [14.0, 20.0]])
COLOUR = np.array([0.0, 0.05, 0.0, 0.25])  # g - r at peak


def cycles(night: int) -> tuple[int, ...]:
    """The stretches whose supernova may be seen on a night."""
    first = (night - VISIBLE_DAYS[1]) // CYCLE_DAYS
    last = (night - VISIBLE_DAYS[0]) // CYCLE_DAYS
    return tuple(range(int(first), int(last) + 1))


def draw(dice: Dice, key: Ints, cycle: Ints) -> Sources:
    """The supernovae of sites `key` in stretches `cycle`."""
    kind = dice.choice(TYPE_SHARES, "sn type", key, cycle)
    # Euclidean counts: N(<m) goes as 10^(0.6 m)
    peak = np.maximum(FAINTEST_PEAK + np.log10(dice.uniform("sn peak", key, cycle)) / 0.6, BRIGHTEST_PEAK)
    redshift = 70.0 / 299_792.0 * 10.0 ** ((peak - ABSOLUTE_PEAK[kind] - 25.0) / 5.0)
    galaxy = peak + 0.2 + 1.3 * dice.normal("sn host", key, cycle)
    outline = host.shape(dice, "sn host", galaxy, key, cycle)
    dx, dy = host.offset(dice, "sn", outline, key, cycle)
    red = dice.between(0.4, 0.95, "sn host colour", key, cycle)
    return assemble(
        "SN", key, cycle, place(dice, "sn", uniform_weights(), key, cycle),
        subclass=kind, amplitude=peak, redshift=redshift,
        epoch=NIGHT_ZERO_JD + CYCLE_DAYS * (cycle + dice.uniform("sn epoch", key, cycle)),
        period=np.exp(0.12 * dice.normal("sn stretch", key, cycle)) * (1.0 + redshift),
        host_g=galaxy + red, host_r=galaxy,
        host_radius=outline.radius, host_index=outline.index,
        host_axis_ratio=outline.axis_ratio, host_angle=outline.angle,
        host_dx=dx, host_dy=dy,
    )  # fmt: skip


def _shape(kind: Ints, red: Ints, days: Floats) -> Floats:
    """Flux relative to peak at rest-frame days from peak."""
    rise, fall = RISE[kind, red], FALL[kind, red]
    turn = rise * np.log(fall / rise - 1.0)  # puts the maximum at day 0
    top = np.exp(-turn / fall) / (1.0 + np.exp(-turn / rise))
    curve = np.exp(-np.minimum((days + turn) / fall, 50.0)) / (1.0 + np.exp(np.clip(-(days + turn) / rise, -60, 60)))
    bump = np.where((kind == 0) & (red == 1), 0.22 * np.exp(-0.5 * ((days - 24.0) / 6.5) ** 2), 0.0)
    plateau = (kind == 1) & (days > 0)
    held = np.where(days < 85.0, np.maximum(curve / top, 0.55 - 0.18 * (1 - red)), 0.06)
    return np.where(plateau, held, curve / top + bump)


def flux(dice: Dice, sources: Sources, jd: Floats, band: Ints) -> Floats:
    """Flux at zero point 26 at each row's date and filter."""
    del dice  # all is in the columns
    days = (jd - sources.epoch) / sources.period
    red = (band == 2).astype(np.int64)
    fading = 0.02 * np.maximum(days, 0.0) * (1 - red)  # g falls faster as the ejecta cool
    peak = sources.amplitude + COLOUR[sources.subclass] * (1 - red) + fading
    return np.where(days > -30.0, flux_of(peak) * _shape(sources.subclass, red, days), 0.0)
