"""What lies on a stamp and where: the source along its trail, its host, and the stars and galaxies around it."""

from dataclasses import dataclass, fields

import numpy as np

from train.simulation.images.observation import Observations
from train.simulation.images.scene import Galaxies, Points
from train.simulation.random import Floats, Ints, KeyedRandom, Mask
from train.simulation.sources.nearby import trail_pixels
from train.simulation.sources.source import LABELS, Sources, flux_of

MOST = 144  # neighbours drawn at the most; the faintest of the crowded plane are left out
FAINTEST_NEIGHBOUR, BRIGHTEST_NEIGHBOUR = 22.6, 11.0
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


def neighbours(random: KeyedRandom, sources: Sources) -> Neighbours:
    """The neighbours of each source, the same on every visit."""
    key = (sources.label[:, None], sources.key[:, None], sources.cycle[:, None], np.arange(MOST))
    expected = sources.crowd * (2.0 * REACH_PIXELS * PIXEL_ARCSEC) ** 2
    arrivals = np.cumsum(-np.log(random.uniform("neighbour arrival", *key)), axis=1)
    magnitude = np.maximum(
        FAINTEST_NEIGHBOUR + np.log10(random.uniform("neighbour magnitude", *key)) / COUNT_SLOPE, BRIGHTEST_NEIGHBOUR
    )
    diffuse = GALAXY_SHARE * np.minimum(0.0022 / sources.crowd, 1.0)[:, None] * (magnitude > 17.0)
    galaxy = random.uniform("neighbour galaxy", *key) < diffuse
    size = np.where(galaxy, np.clip(1.1 * 10.0 ** (-0.11 * (magnitude - 20.0)), 0.3, 5.0), 0.0)
    stretch = np.exp(0.35 * random.normal("neighbour stretch", *key))
    colour = 0.75 + 0.35 * random.normal("neighbour colour", *key)
    return Neighbours(
        present=arrivals < expected[:, None],
        x=random.between(-REACH_PIXELS, REACH_PIXELS, "neighbour x", *key),
        y=random.between(-REACH_PIXELS, REACH_PIXELS, "neighbour y", *key),
        mag_g=magnitude + colour,
        mag_r=magnitude,
        size_x=size * stretch,
        size_y=size / stretch,
        galaxy=galaxy,
    )


TRAIL_POINTS = 3
Shift = tuple[Floats, Floats]


def _trail(obs: Observations) -> tuple[Floats, Floats]:
    """Offsets in pixels of the points that a moving source is drawn with, (n, 3) each."""
    moving = obs.sources.label == LABELS.index("asteroid")
    length = np.where(moving, trail_pixels(obs.sources), 0.0)
    step = np.outer(length / TRAIL_POINTS, np.arange(TRAIL_POINTS) - 1.0)
    heading = obs.sources.epoch[:, None]
    return step * np.cos(heading), step * np.sin(heading)


def points(obs: Observations, around: Neighbours, central: Floats, shift: Shift) -> Points:
    """The source, of flux `central` at zero point 26, and its neighbours, all moved by `shift` pixels."""
    (fx, fy), (tx, ty) = obs.fraction, _trail(obs)
    x, y = fx + shift[0], fy + shift[1]
    green = obs.exposures.band[:, None] == 1
    flux = np.where(around.present, flux_of(np.where(green, around.mag_g, around.mag_r)), 0.0)
    share = np.repeat(central[:, None] / TRAIL_POINTS, TRAIL_POINTS, axis=1)
    return Points(
        x=np.hstack([x[:, None] + tx, x[:, None] + around.x]),
        y=np.hstack([y[:, None] + ty, y[:, None] + around.y]),
        flux=np.hstack([share, flux]) * obs.scale[:, None],
        size_x=np.hstack([np.zeros_like(tx), around.size_x]),
        size_y=np.hstack([np.zeros_like(ty), around.size_y]),
    )


def hosts(obs: Observations, shift: Shift) -> Galaxies:
    """The host galaxies, moved by `shift` pixels."""
    (fx, fy), source = obs.fraction, obs.sources
    return Galaxies(
        x=fx + source.host_dx + shift[0],
        y=fy + source.host_dy + shift[1],
        flux=obs.host_flux * obs.scale,
        radius=source.host_radius,
        index=source.host_index,
        axis_ratio=source.host_axis_ratio,
        angle=source.host_angle,
    )
