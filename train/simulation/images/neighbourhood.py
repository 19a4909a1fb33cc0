"""What else lies on a stamp: stars and small galaxies, as dense as the galactic latitude says."""

from dataclasses import dataclass, fields

import numpy as np

from train.simulation.arrays import Floats, Ints, Mask
from train.simulation.random import Dice
from train.simulation.sources.source import Sources

MOST = 144  # neighbours drawn at the most; the faintest of the crowded plane are left out
FAINTEST, BRIGHTEST = 22.6, 11.0
COUNT_SLOPE = 0.30  # log10 N(<m) grows by so much a magnitude
GALAXY_SHARE = 0.62  # of what is fainter than 18 at high latitude
REACH_PIXELS = 41.0  # half the side of the square they are spread over: the stamp and its margin
PIXEL_ARCSEC = 1.01


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Objects around each source, arrays (n, MOST); places in pixels from the source, sizes (sigma) in pixels."""

    present: Mask
    x: Floats
    y: Floats
    mag_g: Floats
    mag_r: Floats
    size_x: Floats
    size_y: Floats
    galaxy: Mask

    def take(self, rows: Ints, most: int = MOST) -> "Neighbours":
        """The rows chosen, in that order, and their first `most` neighbours; those present come first."""
        return Neighbours(**{column.name: getattr(self, column.name)[rows, :most] for column in fields(self)})


def neighbours(dice: Dice, sources: Sources) -> Neighbours:
    """The neighbours of each source, the same on every visit."""
    key = (sources.label[:, None], sources.key[:, None], sources.cycle[:, None], np.arange(MOST))
    expected = sources.crowd * (2.0 * REACH_PIXELS * PIXEL_ARCSEC) ** 2
    arrivals = np.cumsum(-np.log(dice.uniform("neighbour arrival", *key)), axis=1)
    magnitude = np.maximum(FAINTEST + np.log10(dice.uniform("neighbour magnitude", *key)) / COUNT_SLOPE, BRIGHTEST)
    diffuse = GALAXY_SHARE * np.minimum(0.0022 / sources.crowd, 1.0)[:, None] * (magnitude > 17.0)
    galaxy = dice.uniform("neighbour galaxy", *key) < diffuse
    size = np.where(galaxy, np.clip(1.1 * 10.0 ** (-0.11 * (magnitude - 20.0)), 0.3, 5.0), 0.0)
    stretch = np.exp(0.35 * dice.normal("neighbour stretch", *key))
    colour = 0.75 + 0.35 * dice.normal("neighbour colour", *key)
    return Neighbours(
        present=arrivals < expected[:, None],
        x=dice.between(-REACH_PIXELS, REACH_PIXELS, "neighbour x", *key),
        y=dice.between(-REACH_PIXELS, REACH_PIXELS, "neighbour y", *key),
        mag_g=magnitude + colour,
        mag_r=magnitude,
        size_x=size * stretch,
        size_y=size / stretch,
        galaxy=galaxy,
    )
