"""Light profiles as sums of circular Gaussians, fitted once by non-negative least squares.

A sum of Gaussians convolves with another by adding variances, and is separable when its axes are those of the pixels:
both make the rendering of a stamp a matrix product (Hogg & Lang 2013 argue the same for galaxies).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import nnls

from train.simulation.arrays import Floats

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
