"""Science, template and difference images of each observation, as the survey's camera and pipeline would give them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.fft import next_fast_len

from train.simulation.images import blemish
from train.simulation.images.composition import Neighbours, Shift, hosts, neighbours, points
from train.simulation.images.exposure import GAIN
from train.simulation.images.observation import Observations, moment
from train.simulation.images.scene import PointSpread, add_galaxies, render_points
from train.simulation.images.subtraction import (
    believed_spread,
    correlated,
    reference_correlation,
    reference_spread,
    registration,
    science_spread,
    subtract,
    taper_strength,
)
from train.simulation.random import Floats, Ints, KeyedRandom, Pixels

MARGIN_PIXELS = 16  # rendered beyond the stamp, so that the Fourier transform's wrap-around stays outside
ROWS_AT_ONCE = 16  # keeps the intermediate arrays within the cache
NEIGHBOUR_BUCKETS = (6, 12, 24, 48, 96, 144)


@dataclass(frozen=True, slots=True)
class Frames:
    """Images in DN, (n, side, side) indexed [row, column]; the source lies within half a pixel of the middle."""

    science: Pixels
    template: Pixels
    difference: Pixels


@lru_cache(maxsize=8)
def grid_side(side: int) -> int:
    """An even, fast size for the Fourier transform that leaves a margin round a stamp of `side` pixels."""
    size = side + MARGIN_PIXELS
    while size % 2 or next_fast_len(size, real=True) != size:
        size += 1
    return size


def _sky(obs: Observations, around: Neighbours, central: Floats, spread: PointSpread,
         shift: Shift, side: int) -> Pixels:  # fmt: skip
    """The noiseless sky of a few rows through a point-spread function."""
    image = render_points(points(obs, around, central, shift), spread, side)
    add_galaxies(image, hosts(obs, shift), spread)
    return image


def _column(values: Floats) -> Pixels:
    column: Pixels = values.astype(np.float32)[:, None, None]
    return column


def _expose(sky: Pixels, white: Pixels, random: KeyedRandom, obs: Observations) -> Pixels:
    """The science image less its sky level: photon and read noise, pattern, artefacts, saturation."""
    noise = white - _column(blemish.readout_memory(random, obs)) * np.roll(white, 1, axis=-1)
    image: Pixels = sky + noise * np.sqrt(_column(obs.exposures.variance) + np.maximum(sky, 0) / GAIN)
    blemish.add_pattern(image, random, obs)
    blemish.add_artefacts(image, obs)
    blemish.saturate(image)
    return image


def _stack(sky: Pixels, white: Pixels, random: KeyedRandom, obs: Observations) -> Pixels:
    """The reference image on the science image's flux scale, less its sky level."""
    sigma = _column(obs.references.sigma * obs.scale)
    photons = np.maximum(sky, 0) * _column(obs.scale / (GAIN * obs.references.frames))
    stack: Pixels = sky + correlated(white, *reference_correlation(random, obs)) * np.sqrt(sigma**2 + photons)
    return stack


def _difference(
    random: KeyedRandom, obs: Observations, images: tuple[Pixels, Pixels], true: tuple[PointSpread, PointSpread]
) -> Pixels:
    side = images[0].shape[-1]
    believed = [believed_spread(random, obs, spread, name) for spread, name in zip(true, "nr", strict=True)]
    spectra = believed[0].transform(side), believed[1].transform(side)
    sigmas = obs.exposures.sigma, obs.references.sigma * obs.scale
    return subtract(images[0], images[1], spectra, sigmas, taper_strength(random, obs))


def _few(random: KeyedRandom, obs: Observations, around: Neighbours, white: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    side = white.shape[-1]
    true = science_spread(obs), reference_spread(obs)
    still = np.zeros(len(obs))
    sky = _sky(obs, around, obs.flux, true[0], (still, still), side)
    sky_then = _sky(obs, around, obs.reference_flux, true[1], registration(random, obs), side)
    science = _expose(sky, white[:, 0], random, obs)
    template = _stack(sky_then, white[:, 1], random, obs)
    return science, template, _difference(random, obs, (science, template), true)


def _levels(random: KeyedRandom, obs: Observations) -> tuple[Pixels, Pixels, Pixels]:
    """Sky levels of the images: the template's is matched to the science image's, the difference keeps a trace."""
    keys = moment(obs)
    sky = obs.exposures.sky
    trace = 0.08 + 0.22 * random.normal("sky trace", *keys)
    return _column(sky), _column(sky - 0.4 * np.abs(random.normal("sky match", *keys))), _column(trace)


def crop(images: Pixels, side: int) -> Pixels:
    """The middle (side, side) of the grid."""
    start = (images.shape[-1] - 1) // 2 - side // 2
    middle: Pixels = np.ascontiguousarray(images[:, start : start + side, start : start + side])
    return middle


def _batches(around: Neighbours) -> Iterator[tuple[Ints, int]]:
    """Rows to render together, and how many neighbours to render for each.

    The number depends on the row alone, so that a row's pixels are the same to the bit in any company.
    """
    count = around.present.sum(axis=1)
    bucket = np.searchsorted(NEIGHBOUR_BUCKETS, count)
    for index, most in enumerate(NEIGHBOUR_BUCKETS):
        rows: Ints = np.flatnonzero(bucket == index)
        for start in range(0, len(rows), ROWS_AT_ONCE):
            yield rows[start : start + ROWS_AT_ONCE], most


def draw_frames(random: KeyedRandom, obs: Observations, noise: list[np.random.Generator], side: int = 63) -> Frames:
    """Render the three images of each observation, `side` pixels square (odd); `noise` has one generator a row."""
    grid = grid_side(side)
    white = np.stack([rng.standard_normal((2, grid, grid), dtype=np.float32) for rng in noise])
    around = neighbours(random, obs.sources)
    out = np.empty((3, len(obs), grid, grid), dtype=np.float32)
    for rows, most in _batches(around):
        out[:, rows] = _few(random, obs.take(rows), around.take(rows, most), white[rows])
    return Frames(*(crop(image + level, side) for image, level in zip(out, _levels(random, obs), strict=True)))
