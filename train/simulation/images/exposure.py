"""The conditions of each exposure and of each reference image, as functions of field, night and filter.

The bands are those of the 1,042 real alerts that the project was built beside: sky levels and zero points per filter,
noise against sky level, magnitude limit against noise, width of the point-spread function.
"""

from dataclasses import dataclass, fields, replace

import numpy as np

from train.simulation.random import Floats, Ints, KeyedRandom, Mask

GAIN = 5.8  # electrons a DN
READ_VARIANCE = 12.0  # DN^2, read noise and flat-field residue: what is left at zero sky
FULL_WELL_DN = 52_000.0
# The survey's five-sigma limit is worth 43 times the noise of one pixel, in flux: it is a global, cautious figure.
LIMIT_IN_SIGMAS = 43.0
SKY_DN = (88.0, 170.0)
SKY_SCATTER = (0.28, 0.34)
SEEING_PIXELS = (2.0, 1.85)
ZERO_POINT = (26.22, 26.24)
CLOUDED_SHARE, DIM_SHARE = 0.16, 0.012
DIM_SKY_DN, DIM_VARIANCE = 21.0, 220.0


@dataclass(frozen=True, slots=True)
class Exposures:
    """Conditions, one row an exposure: lengths in pixels, levels in DN, zero points in magnitudes."""

    field: Ints
    night: Ints
    band: Ints
    jd: Floats
    zero_point: Floats
    sky: Floats
    variance: Floats
    seeing: Floats
    ellipticity: Floats
    coma_x: Floats
    coma_y: Floats

    @property
    def sigma(self) -> Floats:
        """Noise of one pixel, DN."""
        return np.sqrt(self.variance)

    @property
    def limit(self) -> Floats:
        """Five-sigma limit in magnitudes."""
        result: Floats = self.zero_point - 2.5 * np.log10(LIMIT_IN_SIGMAS * self.sigma)
        return result

    def flux_error(self, flux: Floats) -> Floats:
        """The pipeline's one-sigma error in DN of a difference flux in DN.

        9 to 12 pixel sigmas for the usual seeing, photon noise, and 3 % of the flux, as in real alerts.
        """
        spread = (4.6 + 1.45 * self.seeing) * self.sigma
        return np.sqrt(spread**2 + np.abs(flux) / GAIN * 4.0 + (0.03 * flux) ** 2)

    def take(self, rows: Ints) -> "Exposures":
        """The rows chosen, in that order."""
        return replace(self, **{column.name: getattr(self, column.name)[rows] for column in fields(self)})


def _clouds(random: KeyedRandom, *keys: Ints) -> Floats:
    clouded = random.uniform("clouded", *keys) < CLOUDED_SHARE
    return np.where(clouded, -0.35 * np.log(random.uniform("cloud", *keys)), 0.0)


def is_dim(random: KeyedRandom, field: Ints, night: Ints, band: Ints) -> Mask:
    """Whether an exposure lost most of its light, to thin clouds or twilight."""
    dim: Mask = random.uniform("dim", field, night, band) < DIM_SHARE
    return dim


def exposures(random: KeyedRandom, field: Ints, night: Ints, band: Ints, jd: Floats) -> Exposures:
    """Draw the conditions of exposures (arrays of one shape); `band` is 1 for g, 2 for r."""
    keys = (field, night, band)
    red = (band == 2).astype(np.int64)
    moon = 0.5 + 0.5 * np.cos(2.0 * np.pi * (night - 4.0) / 29.53)
    sky = np.take(SKY_DN, red) * np.exp(np.take(SKY_SCATTER, red) * random.normal("sky", *keys)) * (1 + 0.2 * moon)
    zero_point = np.take(ZERO_POINT, red) + 0.07 * random.normal("zero point", *keys) - _clouds(random, *keys)
    variance = (sky / GAIN + READ_VARIANCE) * np.exp(0.10 * random.normal("variance", *keys))
    dim = is_dim(random, *keys)
    seeing = np.take(SEEING_PIXELS, red) * np.exp(0.27 * random.normal("seeing", *keys))
    return Exposures(
        field=field,
        night=night,
        band=band,
        jd=jd,
        zero_point=np.where(dim, zero_point - 2.6, zero_point),
        sky=np.where(dim, DIM_SKY_DN, sky),
        variance=np.where(dim, DIM_VARIANCE, variance),
        seeing=np.clip(seeing, 1.3, 6.0),
        ellipticity=0.04 * random.normal("ellipticity", *keys),
        coma_x=0.03 * random.normal("coma x", *keys),
        coma_y=0.03 * random.normal("coma y", *keys),
    )


@dataclass(frozen=True, slots=True)
class References:
    """Reference images, one row each: noise in DN at zero point 26.2, widths in pixels, times in days."""

    sigma: Floats
    seeing: Floats
    ellipticity: Floats
    frames: Ints
    first_jd: Floats
    last_jd: Floats
    number: Ints


def references(random: KeyedRandom, field: Ints, number: Ints, channel: Ints, band: Ints) -> References:
    """The reference image of a field (index, and ZTF's number), readout channel and filter: the same on every night."""
    keys = (field, channel, band)
    red = (band == 2).astype(np.int64)
    frames = 15 + np.floor(-6.0 * np.log(random.uniform("frames", *keys)) * (random.uniform("deep", *keys) < 0.3))
    first = 2458130.0 + 150.0 * random.uniform("first frame", *keys)
    depth = np.sqrt(15.0 / frames)
    return References(
        sigma=np.take((1.0, 1.2), red) * depth * np.exp(0.16 * random.normal("reference noise", *keys)),
        seeing=np.take((2.15, 2.05), red) * np.exp(0.06 * random.normal("reference seeing", *keys)),
        ellipticity=0.025 * random.normal("reference ellipticity", *keys),
        frames=frames.astype(np.int64),
        first_jd=np.round(first, 6),
        last_jd=np.round(first + 30.0 + 250.0 * random.uniform("last frame", *keys), 6),
        number=number * 1_000_000 + 120_000 + band * 100 + channel,
    )
