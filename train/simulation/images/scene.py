"""The noiseless sky around each source, through a point-spread function, on a square grid of pixels.

Light profiles are sums of circular Gaussians, fitted once by non-negative least squares. A sum of Gaussians convolves
with another by adding variances, and is separable when its axes are those of the pixels: both make the rendering of a
stamp a matrix product (Hogg & Lang 2013 argue the same for galaxies).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import nnls

from train.simulation.random import Complexes, Floats, Ints, Pixels

MOFFAT_BETA = 2.7  # real ZTF stars, stacked from stamps, fall as r^-4.9 between 4 and 8 pixels
SERSIC_B = {1: 1.6783, 4: 7.6692}  # puts half of the light within the half-light radius
TRUNCATION = {1: 5.0, 4: 7.0}  # half-light radii; beyond it catalogues and sky subtraction see nothing
# the square of a pixel seen as a Gaussian: variance of a uniform law of width 1
PIXEL_VARIANCE = 1.0 / 12.0


@dataclass(frozen=True, slots=True)
class Mixture:
    """Weights (summing to 1) and standard deviations of the Gaussians, in units of the profile's own radius."""

    weight: Floats
    sigma: Floats


def _fit(radius: Floats, profile: Floats, sigma: Floats) -> Mixture:
    rings = np.sqrt(radius)  # a ring's area grows with its radius
    design = np.exp(-0.5 * (radius[:, None] / sigma) ** 2) / (2.0 * np.pi * sigma**2)
    weight, _ = nnls(design * rings[:, None], profile * rings)
    kept = weight > 1e-4 * weight.sum()
    return Mixture(weight[kept] / weight[kept].sum(), sigma[kept])


@lru_cache(maxsize=1)
def moffat() -> Mixture:
    """A Moffat profile of full width 1 at half maximum, in five Gaussians."""
    radius = np.linspace(0.01, 7.0, 700)
    core = 0.5 / np.sqrt(2.0 ** (1.0 / MOFFAT_BETA) - 1.0)
    shape = (MOFFAT_BETA - 1.0) / (np.pi * core**2) * (1.0 + (radius / core) ** 2) ** -MOFFAT_BETA
    return _fit(radius, shape, np.array([0.33, 0.5, 0.9, 1.8, 3.8]))


@lru_cache(maxsize=2)
def sersic(index: int) -> Mixture:
    """A Sérsic profile of half-light radius 1 and index 1 or 4, truncated at 5 or 7 radii."""
    radius = np.linspace(0.005, TRUNCATION[index], 1400)
    shape = np.exp(-SERSIC_B[index] * (radius ** (1.0 / index) - 1.0))
    return _fit(radius, shape, np.geomspace(0.06 if index == 4 else 0.25, TRUNCATION[index] / 2.2, 7))


@dataclass(frozen=True, slots=True)
class PointSpread:
    """Point-spread functions, one row an image: full width in pixels, elongation, shift of the wings in pixels."""

    width: Floats
    ellipticity: Floats
    coma_x: Floats
    coma_y: Floats

    def sigmas(self) -> tuple[Floats, Floats]:
        """Standard deviations along x and y of each Gaussian, (n, K), pixel included."""
        sigma = self.width[:, None] * moffat().sigma
        stretched = sigma * (1.0 + self.ellipticity[:, None]), sigma * (1.0 - self.ellipticity[:, None])
        return np.sqrt(stretched[0] ** 2 + PIXEL_VARIANCE), np.sqrt(stretched[1] ** 2 + PIXEL_VARIANCE)

    def shifts(self) -> tuple[Floats, Floats]:
        """Offsets along x and y of each Gaussian, (n, K): the wings lean one way, the light's centre stays."""
        mixture = moffat()
        lean = mixture.sigma - np.sum(mixture.weight * mixture.sigma)
        scale = self.width[:, None] * lean
        return self.coma_x[:, None] * scale, self.coma_y[:, None] * scale

    def transform(self, side: int) -> Complexes:
        """Fourier transform on the half plane of `rfft2`, (n, side, side // 2 + 1), 1 at zero frequency."""
        (sx, sy), (dx, dy) = self.sigmas(), self.shifts()
        fx, fy = np.fft.rfftfreq(side), np.fft.fftfreq(side)
        along = _wave(fx, sx, dx) * moffat().weight[None, :, None]
        up = _wave(fy, sy, dy)
        product: Complexes = np.matmul(up.transpose(0, 2, 1), along)
        return product


def _wave(frequency: Floats, sigma: Floats, shift: Floats) -> Complexes:
    angle = 2.0 * np.pi * frequency
    decay = np.exp(-0.5 * (sigma[:, :, None] * angle) ** 2)
    wave: Complexes = (decay * np.exp(-1j * shift[:, :, None] * angle)).astype(np.complex64)
    return wave


@dataclass(frozen=True, slots=True)
class Points:
    """Point-like or small objects, (n, S): pixels from the grid's centre, flux in DN, own size in pixels."""

    x: Floats
    y: Floats
    flux: Floats
    size_x: Floats
    size_y: Floats


@dataclass(frozen=True, slots=True)
class Galaxies:
    """One large galaxy a row, (n,): pixels from the grid's centre, flux in DN, half-light radius in pixels."""

    x: Floats
    y: Floats
    flux: Floats
    radius: Floats
    index: Floats
    axis_ratio: Floats
    angle: Floats


def axis(side: int) -> Floats:
    """Pixel coordinates from the grid's centre, which is pixel (side − 1) // 2."""
    return np.arange(side, dtype=np.float64) - float((side - 1) // 2)


def _bell(coordinate: Floats, centre: Floats, sigma: Floats) -> Pixels:
    """Normalised Gaussians on an axis: (n, side, S × K)."""
    sigma32 = sigma.reshape(len(sigma), 1, -1).astype(np.float32)
    offset = coordinate.astype(np.float32)[None, :, None] - centre.reshape(len(centre), 1, -1).astype(np.float32)
    bell: Pixels = np.exp(-0.5 * np.square(offset / sigma32)) / (sigma32 * np.float32(np.sqrt(2.0 * np.pi)))
    return bell


def render_points(points: Points, spread: PointSpread, side: int) -> Pixels:
    """Images (n, side, side), indexed [row, column], of the points through each row's point-spread function."""
    (sx, sy), (dx, dy) = spread.sigmas(), spread.shifts()
    sigma_x = np.sqrt(sx[:, None, :] ** 2 + points.size_x[:, :, None] ** 2)
    sigma_y = np.sqrt(sy[:, None, :] ** 2 + points.size_y[:, :, None] ** 2)
    weight = (points.flux[:, :, None] * moffat().weight).reshape(len(points.flux), 1, -1).astype(np.float32)
    along = _bell(axis(side), points.x[:, :, None] + dx[:, None, :], sigma_x)
    up = _bell(axis(side), points.y[:, :, None] + dy[:, None, :], sigma_y)
    image: Pixels = np.matmul(up * weight, along.transpose(0, 2, 1))
    return image


def _column(values: Floats) -> Pixels:
    column: Pixels = values.astype(np.float32)[:, None, None]
    return column


def _principal_axes(galaxies: Galaxies, rows: Ints, side: int) -> tuple[Pixels, Pixels]:
    """Squared coordinates of each pixel along the galaxy's major and minor axes, (n, side, side)."""
    grid = axis(side).astype(np.float32)
    cosine, sine = _column(np.cos(galaxies.angle[rows])), _column(np.sin(galaxies.angle[rows]))
    x, y = grid[None, None, :] - _column(galaxies.x[rows]), grid[None, :, None] - _column(galaxies.y[rows])
    return np.square(x * cosine + y * sine), np.square(y * cosine - x * sine)


def _render_sersic(galaxies: Galaxies, rows: Ints, index: int, width: Floats, side: int) -> Pixels:
    major2, minor2 = _principal_axes(galaxies, rows, side)
    image = np.zeros_like(major2)
    blur = (width[rows] / 2.355) ** 2 + PIXEL_VARIANCE
    radius, ratio = galaxies.radius[rows], galaxies.axis_ratio[rows]
    for weight, scale in zip(sersic(index).weight, sersic(index).sigma, strict=True):
        va, vb = (scale * radius) ** 2 + blur, (scale * radius * ratio) ** 2 + blur
        peak = weight * galaxies.flux[rows] / (2.0 * np.pi * np.sqrt(va * vb))
        image += _column(peak) * np.exp(_column(-0.5 / va) * major2 + _column(-0.5 / vb) * minor2)
    return image


def add_galaxies(image: Pixels, galaxies: Galaxies, spread: PointSpread) -> None:
    """Add each row's large galaxy, blurred by a Gaussian of the row's full width, to the images in place."""
    for index in (1, 4):
        rows = np.flatnonzero((galaxies.flux > 0.0) & (galaxies.index == index))
        if len(rows):
            image[rows] += _render_sersic(galaxies, rows, index, spread.width, image.shape[-1])
