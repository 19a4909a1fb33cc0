"""Galaxies and the sources in them: supernovae and active galactic nuclei.

Supernova light curves are the rise-and-fall form of Bazin et al. (2009), a plateau for type II, a second red maximum
for Ia. Nuclei follow a damped random walk (Kelly et al. 2009; MacLeod et al. 2010), whose covariance is exp(−|Δt|/τ):
a sum of cosines whose frequencies follow its power spectrum, a Cauchy law of scale 1/τ, has that covariance, and can be
read at any date.
"""

from dataclasses import dataclass

import numpy as np

from train.simulation.random import Floats, Ints, KeyedRandom
from train.simulation.sources.source import Sources, assemble, flux_of, place_sources, uniform_weights
from train.simulation.survey import NIGHT_ZERO_JD, fields

EARLY_SHARE = 0.35
MIN_RADIUS, MAX_RADIUS = 0.8, 14.0


@dataclass(frozen=True, slots=True)
class GalaxyShape:
    """Half-light radius in pixels, Sérsic index (1 or 4), axis ratio, position angle in radians."""

    radius: Floats
    index: Floats
    axis_ratio: Floats
    angle: Floats


def galaxy_shape(random: KeyedRandom, name: str, magnitude: Floats, key: Ints, cycle: Ints) -> GalaxyShape:
    """Draw the shape of galaxies of a given apparent magnitude.

    Sizes follow Shen et al. (2003) in slope: brighter galaxies on the sky are larger, 0.13 dex a magnitude.
    """
    early = random.uniform(f"{name} early", key, cycle) < EARLY_SHARE
    spread = np.exp(0.4 * random.normal(f"{name} size", key, cycle))
    radius = 2.3 * 10.0 ** (-0.13 * (magnitude - 19.0)) * spread
    thin = random.between(0.22, 1.0, f"{name} axis ratio", key, cycle)
    return GalaxyShape(
        radius=np.clip(radius, MIN_RADIUS, MAX_RADIUS),
        index=np.where(early, 4.0, 1.0),
        axis_ratio=np.where(early, 0.55 + 0.45 * thin, thin),
        angle=random.between(0.0, np.pi, f"{name} angle", key, cycle),
    )


def offset_from_host(
    random: KeyedRandom, name: str, host: GalaxyShape, key: Ints, cycle: Ints
) -> tuple[Floats, Floats]:
    """Pixels from a source to its host's centre: sources follow the disc's light, projected on its ellipse."""
    distance = 0.75 * host.radius * np.sqrt(-2.0 * np.log(random.uniform(f"{name} offset", key, cycle)))
    around = random.between(0.0, 2.0 * np.pi, f"{name} offset angle", key, cycle)
    along, across = distance * np.cos(around), distance * np.sin(around) * host.axis_ratio
    cosine, sine = np.cos(host.angle), np.sin(host.angle)
    return along * cosine - across * sine, along * sine + across * cosine


CYCLE_DAYS = 180.0  # a site hosts one supernova in each stretch of so many days
VISIBLE_DAYS = (-25.0, 120.0)
SUPERNOVA_SHARES = (0.68, 0.20, 0.05, 0.07)
FAINTEST_PEAK, BRIGHTEST_PEAK = 18.7, 14.0
ABSOLUTE_PEAK = np.array([-19.2, -17.2, -18.3, -17.7])
# e-folding times in days of rise and fall, in g and in r
RISE = np.array([[3.3, 3.8], [2.2, 2.6], [6.0, 7.0], [3.2, 3.8]])
FALL = np.array([[15.0, 24.0], [30.0, 60.0], [60.0, 80.0], [14.0, 20.0]])
PEAK_COLOUR = np.array([0.0, 0.05, 0.0, 0.25])  # g - r at peak


def supernova_cycles(night: int) -> tuple[int, ...]:
    """The stretches whose supernova may be seen on a night."""
    first = (night - VISIBLE_DAYS[1]) // CYCLE_DAYS
    last = (night - VISIBLE_DAYS[0]) // CYCLE_DAYS
    return tuple(range(int(first), int(last) + 1))


def draw_supernovae(random: KeyedRandom, key: Ints, cycle: Ints) -> Sources:
    """The supernovae of sites `key` in stretches `cycle`."""
    kind = random.choice(SUPERNOVA_SHARES, "sn type", key, cycle)
    # Euclidean counts: N(<m) goes as 10^(0.6 m)
    peak = np.maximum(FAINTEST_PEAK + np.log10(random.uniform("sn peak", key, cycle)) / 0.6, BRIGHTEST_PEAK)
    redshift = 70.0 / 299_792.0 * 10.0 ** ((peak - ABSOLUTE_PEAK[kind] - 25.0) / 5.0)
    galaxy = peak + 0.2 + 1.3 * random.normal("sn host", key, cycle)
    outline = galaxy_shape(random, "sn host", galaxy, key, cycle)
    dx, dy = offset_from_host(random, "sn", outline, key, cycle)
    red = random.between(0.4, 0.95, "sn host colour", key, cycle)
    return assemble(
        "SN", key, cycle, place_sources(random, "sn", uniform_weights(), key, cycle),
        subclass=kind, amplitude=peak, redshift=redshift,
        epoch=NIGHT_ZERO_JD + CYCLE_DAYS * (cycle + random.uniform("sn epoch", key, cycle)),
        period=np.exp(0.12 * random.normal("sn stretch", key, cycle)) * (1.0 + redshift),
        host_g=galaxy + red, host_r=galaxy,
        host_radius=outline.radius, host_index=outline.index,
        host_axis_ratio=outline.axis_ratio, host_angle=outline.angle,
        host_dx=dx, host_dy=dy,
    )  # fmt: skip


def _light_curve(kind: Ints, red: Ints, days: Floats) -> Floats:
    """Flux relative to peak at rest-frame days from peak."""
    rise, fall = RISE[kind, red], FALL[kind, red]
    turn = rise * np.log(fall / rise - 1.0)  # puts the maximum at day 0
    top = np.exp(-turn / fall) / (1.0 + np.exp(-turn / rise))
    curve = np.exp(-np.minimum((days + turn) / fall, 50.0)) / (1.0 + np.exp(np.clip(-(days + turn) / rise, -60, 60)))
    bump = np.where((kind == 0) & (red == 1), 0.22 * np.exp(-0.5 * ((days - 24.0) / 6.5) ** 2), 0.0)
    plateau = (kind == 1) & (days > 0)
    held = np.where(days < 85.0, np.maximum(curve / top, 0.55 - 0.18 * (1 - red)), 0.06)
    return np.where(plateau, held, curve / top + bump)


def supernova_flux(random: KeyedRandom, sources: Sources, jd: Floats, band: Ints) -> Floats:
    """Flux at zero point 26 at each row's date and filter."""
    del random  # all is in the columns
    days = (jd - sources.epoch) / sources.period
    red = (band == 2).astype(np.int64)
    fading = 0.02 * np.maximum(days, 0.0) * (1 - red)  # g falls faster as the ejecta cool
    peak = sources.amplitude + PEAK_COLOUR[sources.subclass] * (1 - red) + fading
    return np.where(days > -30.0, flux_of(peak) * _light_curve(sources.subclass, red, days), 0.0)


MODES = 24
NUCLEUS_SHARES = (0.45, 0.35, 0.20)
# rest-frame standard deviation in magnitudes, damping time in days, host magnitude less nucleus magnitude
SIGMA = np.array([0.22, 0.42, 0.20])
DAMPING_DAYS = np.array([300.0, 90.0, 180.0])
HOST_EXCESS = np.array([2.6, 1.8, -0.2])


def draw_nuclei(random: KeyedRandom, key: Ints, cycle: Ints) -> Sources:
    """The nuclei `key`; `cycle` is 0."""
    kind = random.choice(NUCLEUS_SHARES, "agn type", key)
    mean = np.maximum(20.1 + np.log10(random.uniform("agn magnitude", key)) / 0.42, 14.8)
    galaxy = mean + HOST_EXCESS[kind] + 0.7 * random.normal("agn host", key)
    outline = galaxy_shape(random, "agn host", galaxy, key, cycle)
    clear = np.abs(fields().galactic_latitude) / 90.0 + 0.15  # the plane's dust hides them
    colour = random.between(0.25, 0.9, "agn colour", key)
    return assemble(
        "AGN", key, cycle, place_sources(random, "agn", clear, key, cycle),
        subclass=kind, mean_g=mean + colour, mean_r=mean,
        amplitude=SIGMA[kind] * np.exp(0.35 * random.normal("agn sigma", key)),
        period=DAMPING_DAYS[kind] * np.exp(0.6 * random.normal("agn damping", key)),
        redshift=0.02 + 0.35 * -np.log(random.uniform("agn redshift", key)),
        host_g=galaxy + 0.75, host_r=galaxy,
        host_radius=outline.radius, host_index=outline.index,
        host_axis_ratio=outline.axis_ratio, host_angle=outline.angle,
    )  # fmt: skip


def damped_walk(random: KeyedRandom, key: Ints, damping: Floats, jd: Floats) -> Floats:
    """The damped random walk of unit variance of each row's object at each row's date, shape (n,)."""
    mode = np.arange(MODES)
    frequency = np.tan(np.pi * (random.uniform("agn frequency", key[:, None], mode) - 0.5)) / damping[:, None]
    phase = 2.0 * np.pi * random.uniform("agn phase", key[:, None], mode)
    total: Floats = np.cos(frequency * (jd - 2_458_000.0)[:, None] + phase).sum(axis=1)
    scaled: Floats = np.sqrt(2.0 / MODES) * total
    return scaled


def nucleus_flux(random: KeyedRandom, sources: Sources, jd: Floats, band: Ints) -> Floats:
    """Flux of the nucleus, its galaxy left out, at zero point 26."""
    swing = np.where(band == 1, 1.0, 0.92) * sources.amplitude  # bluer when brighter
    return flux_of(sources.mean(band) + swing * damped_walk(random, sources.key, sources.period, jd))
