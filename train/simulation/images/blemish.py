"""What the detector and passing things add to a science image: the causes of the bogus alerts, and pattern noise."""

from collections.abc import Callable

import numpy as np

from train.simulation.images.exposure import FULL_WELL_DN
from train.simulation.images.observation import Observations, is_kind, moment
from train.simulation.images.scene import axis
from train.simulation.random import Floats, Ints, KeyedRandom, Pixels

STRIPED_SHARE = 0.3  # of readout channels show alternating columns
BLEED_ROWS = 14


def _grid(obs: Observations, side: int) -> tuple[Pixels, Pixels]:
    """Pixel coordinates from each source, (n, 1, side) and (n, side, 1)."""
    fx, fy = (f.astype(np.float32) for f in obs.fraction)
    grid = axis(side).astype(np.float32)
    return grid[None, None, :] - fx[:, None, None], grid[None, :, None] - fy[:, None, None]


def _col(values: Floats) -> Pixels:
    column: Pixels = values.astype(np.float32)[:, None, None]
    return column


def _strength(obs: Observations) -> Pixels:
    return _col(obs.sources.amplitude * obs.exposures.sigma)


def _angle(obs: Observations) -> tuple[Pixels, Pixels]:
    return _col(np.cos(obs.sources.epoch)), _col(np.sin(obs.sources.epoch))


def _along_across(obs: Observations, side: int) -> tuple[Pixels, Pixels]:
    (x, y), (cosine, sine) = _grid(obs, side), _angle(obs)
    return x * cosine + y * sine, y * cosine - x * sine


def cosmic_ray(obs: Observations, side: int) -> Pixels:
    """A track a pixel or two wide and up to seven long, ending abruptly."""
    along, across = _along_across(obs, side)
    half = _col(0.5 + 3.0 * obs.sources.period**3)
    wide = _col(0.9 + 0.6 * obs.sources.period)
    track: Pixels = 1.6 * _strength(obs) * np.clip(half + 0.5 - np.abs(along), 0, 1)
    return track * np.clip(wide - np.abs(across), 0, 1)


def _spot(obs: Observations, side: int, size: Floats) -> Pixels:
    """A round spot of unit peak, its standard deviation in pixels."""
    x, y = _grid(obs, side)
    spot: Pixels = np.exp(-0.5 * (np.square(x) + np.square(y)) / _col(size**2))
    return spot


def hot_pixel(obs: Observations, side: int) -> Pixels:
    """A charge too much in one to four pixels, sharper than any star."""
    return 1.8 * _strength(obs) * _spot(obs, side, 0.35 + 0.5 * obs.sources.period)


def dead_pixel(obs: Observations, side: int) -> Pixels:
    """One to four pixels too dark."""
    return -1.8 * _strength(obs) * _spot(obs, side, 0.35 + 0.6 * obs.sources.period)


def bad_column(obs: Observations, side: int) -> Pixels:
    """A column off by a few sigmas, from the source to one edge."""
    x, y = _grid(obs, side)
    up = _col(np.where(obs.sources.period < 0.5, 1.0, -1.0))
    return 0.35 * _strength(obs) * ((np.abs(x) <= 0.5) & (y * up > -1.5))


def edge(obs: Observations, side: int) -> Pixels:
    """A step in the level, where an amplifier or a mask ends."""
    along, _ = _along_across(obs, side)
    image: Pixels = 0.3 * _strength(obs) * np.clip(along + 1.0, 0, 1)
    return image


def ghost(obs: Observations, side: int) -> Pixels:
    """The out-of-focus reflection of a bright star: a disc with a hole."""
    x, y = _grid(obs, side)
    radius = _col(7.0 + 18.0 * obs.sources.period)
    away = np.hypot(x - 0.5 * radius, y)
    disc = np.clip(radius - away, 0, 1) * np.clip(away - 0.3 * radius, 0, 1)
    image: Pixels = 0.16 * _strength(obs) * disc
    return image


def streak(obs: Observations, side: int) -> Pixels:
    """A satellite across the stamp, steady or flashing."""
    along, across = _along_across(obs, side)
    width = _col(obs.exposures.seeing / 2.355 + 0.3)
    flashing = _col((obs.sources.period < 0.5).astype(np.float64))
    beat = 1.0 + 0.9 * flashing * np.cos(along * _col(0.3 + obs.sources.period))
    image: Pixels = 0.6 * _strength(obs) * np.exp(-0.5 * np.square(across / width)) * beat
    return image


CAUSES: dict[str, Callable[[Observations, int], Pixels]] = {
    "cosmic ray": cosmic_ray, "hot pixel": hot_pixel, "dead pixel": dead_pixel, "bad column": bad_column,
    "edge": edge, "ghost": ghost, "streak": streak,
}  # fmt: skip


def add_artefacts(science: Pixels, obs: Observations) -> None:
    """Add to each bogus row's science image, in place, what raised its alert."""
    for kind, cause in CAUSES.items():
        rows: Ints = np.flatnonzero(is_kind(obs, kind))
        if len(rows):
            science[rows] += cause(obs.take(rows), science.shape[-1]).astype(np.float32)


def readout_memory(random: KeyedRandom, obs: Observations) -> Floats:
    """Share of each pixel read that the next one keeps with its sign turned; real rows correlate by −0.1 to 0."""
    drawn = random.normal("readout memory", obs.sources.channel, obs.exposures.night)
    share: Floats = np.clip(0.05 + 0.025 * drawn, 0.0, 0.12)
    return share


def add_pattern(science: Pixels, random: KeyedRandom, obs: Observations) -> None:
    """Add, in place, the columns' own offsets: alternating in some readout channels, random in all."""
    side = science.shape[-1]
    striped = random.uniform("striped", obs.sources.channel) < STRIPED_SHARE
    size = np.where(striped, 0.17 * np.abs(random.normal("stripes", *moment(obs))), 0.0) * obs.exposures.sigma
    sign = 1.0 - 2.0 * ((np.arange(side) + np.floor(obs.column)[:, None]) % 2)
    keys = tuple(key[:, None] for key in moment(obs))
    column = 0.06 * obs.exposures.sigma[:, None] * random.normal("columns", *keys, np.arange(side))
    science += (size[:, None] * sign + column).astype(np.float32)[:, None, :]


def saturate(science: Pixels) -> None:
    """Clip at full well, in place, and let what is above it bleed along the columns."""
    for row in np.flatnonzero((science > FULL_WELL_DN).any(axis=(1, 2))):
        full = science[row] > FULL_WELL_DN
        columns = full.any(axis=0)
        middle = np.where(columns, full.argmax(axis=0) + full.sum(axis=0) // 2, 0)
        reach = np.where(columns, full.sum(axis=0) + BLEED_ROWS, 0)
        away = np.abs(np.arange(science.shape[1])[:, None] - middle[None, :])
        bled = columns[None, :] & (away <= reach[None, :] / 2)
        science[row] = np.where(bled, np.maximum(science[row], 0.6 * FULL_WELL_DN), science[row])
    np.minimum(science, FULL_WELL_DN, out=science)
