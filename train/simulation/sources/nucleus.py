"""Active galactic nuclei: a damped random walk on the nucleus of a galaxy.

The walk (Kelly et al. 2009; MacLeod et al. 2010) has covariance exp(−|Δt|/τ). A sum of cosines whose frequencies
follow its power spectrum, a Cauchy law of scale 1/τ, has that covariance, and can be read at any date.
"""

import numpy as np

from train.simulation.arrays import Floats, Ints
from train.simulation.random import Dice
from train.simulation.sources import host
from train.simulation.sources.source import Sources, assemble, flux_of, place
from train.simulation.survey import fields

MODES = 24
TYPE_SHARES = (0.45, 0.35, 0.20)
# rest-frame standard deviation in magnitudes, damping time in days, host magnitude less nucleus magnitude
SIGMA = np.array([0.22, 0.42, 0.20])
DAMPING_DAYS = np.array([300.0, 90.0, 180.0])
HOST_EXCESS = np.array([2.6, 1.8, -0.2])


def draw(dice: Dice, key: Ints, cycle: Ints) -> Sources:
    """The nuclei `key`; `cycle` is 0."""
    kind = dice.choice(TYPE_SHARES, "agn type", key)
    mean = np.maximum(20.1 + np.log10(dice.uniform("agn magnitude", key)) / 0.42, 14.8)
    galaxy = mean + HOST_EXCESS[kind] + 0.7 * dice.normal("agn host", key)
    outline = host.shape(dice, "agn host", galaxy, key, cycle)
    clear = np.abs(fields().galactic_latitude) / 90.0 + 0.15  # the plane's dust hides them
    colour = dice.between(0.25, 0.9, "agn colour", key)
    return assemble(
        "AGN", key, cycle, place(dice, "agn", clear, key, cycle),
        subclass=kind, mean_g=mean + colour, mean_r=mean,
        amplitude=SIGMA[kind] * np.exp(0.35 * dice.normal("agn sigma", key)),
        period=DAMPING_DAYS[kind] * np.exp(0.6 * dice.normal("agn damping", key)),
        redshift=0.02 + 0.35 * -np.log(dice.uniform("agn redshift", key)),
        host_g=galaxy + 0.75, host_r=galaxy,
        host_radius=outline.radius, host_index=outline.index,
        host_axis_ratio=outline.axis_ratio, host_angle=outline.angle,
    )  # fmt: skip


def walk(dice: Dice, key: Ints, damping: Floats, jd: Floats) -> Floats:
    """The damped random walk of unit variance of each row's object at each row's date, shape (n,)."""
    mode = np.arange(MODES)
    frequency = np.tan(np.pi * (dice.uniform("agn frequency", key[:, None], mode) - 0.5)) / damping[:, None]
    phase = 2.0 * np.pi * dice.uniform("agn phase", key[:, None], mode)
    total: Floats = np.cos(frequency * (jd - 2_458_000.0)[:, None] + phase).sum(axis=1)
    scaled: Floats = np.sqrt(2.0 / MODES) * total
    return scaled


def flux(dice: Dice, sources: Sources, jd: Floats, band: Ints) -> Floats:
    """Flux of the nucleus, its galaxy left out, at zero point 26."""
    swing = np.where(band == 1, 1.0, 0.92) * sources.amplitude  # bluer when brighter
    return flux_of(sources.mean(band) + swing * walk(dice, sources.key, sources.period, jd))
