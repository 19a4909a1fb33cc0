"""The galaxy a source lies in: magnitude, size, shape, and the offset of the source from its centre."""

from dataclasses import dataclass

import numpy as np

from train.simulation.arrays import Floats, Ints
from train.simulation.random import Dice

EARLY_SHARE = 0.35
MIN_RADIUS, MAX_RADIUS = 0.8, 14.0


@dataclass(frozen=True, slots=True)
class Shape:
    """Half-light radius in pixels, Sérsic index (1 or 4), axis ratio, position angle in radians."""

    radius: Floats
    index: Floats
    axis_ratio: Floats
    angle: Floats


def shape(dice: Dice, name: str, magnitude: Floats, key: Ints, cycle: Ints) -> Shape:
    """Draw the shape of galaxies of a given apparent magnitude.

    Sizes follow Shen et al. (2003) in slope: brighter galaxies on the sky are larger, 0.13 dex a magnitude.
    """
    early = dice.uniform(f"{name} early", key, cycle) < EARLY_SHARE
    spread = np.exp(0.4 * dice.normal(f"{name} size", key, cycle))
    radius = 2.3 * 10.0 ** (-0.13 * (magnitude - 19.0)) * spread
    thin = dice.between(0.22, 1.0, f"{name} axis ratio", key, cycle)
    return Shape(
        radius=np.clip(radius, MIN_RADIUS, MAX_RADIUS),
        index=np.where(early, 4.0, 1.0),
        axis_ratio=np.where(early, 0.55 + 0.45 * thin, thin),
        angle=dice.between(0.0, np.pi, f"{name} angle", key, cycle),
    )


def offset(dice: Dice, name: str, host: Shape, key: Ints, cycle: Ints) -> tuple[Floats, Floats]:
    """Pixels from a source to its host's centre: sources follow the disc's light, projected on its ellipse."""
    distance = 0.75 * host.radius * np.sqrt(-2.0 * np.log(dice.uniform(f"{name} offset", key, cycle)))
    around = dice.between(0.0, 2.0 * np.pi, f"{name} offset angle", key, cycle)
    along, across = distance * np.cos(around), distance * np.sin(around) * host.axis_ratio
    cosine, sine = np.cos(host.angle), np.sin(host.angle)
    return along * cosine - across * sine, along * sine + across * cosine
