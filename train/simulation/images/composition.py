"""What goes onto a stamp and where: the source along its trail, its host, its neighbours, in pixels and DN."""

import numpy as np

from train.simulation.arrays import Floats
from train.simulation.images.neighbourhood import Neighbours
from train.simulation.images.observation import Shots
from train.simulation.images.scene import Galaxies, Points
from train.simulation.sources import asteroid
from train.simulation.sources.source import LABELS, flux_of

TRAIL_POINTS = 3
Shift = tuple[Floats, Floats]


def _trail(shots: Shots) -> tuple[Floats, Floats]:
    """Offsets in pixels of the points that a moving source is drawn with, (n, 3) each."""
    moving = shots.sources.label == LABELS.index("asteroid")
    length = np.where(moving, asteroid.trail(shots.sources), 0.0)
    step = np.outer(length / TRAIL_POINTS, np.arange(TRAIL_POINTS) - 1.0)
    heading = shots.sources.epoch[:, None]
    return step * np.cos(heading), step * np.sin(heading)


def points(shots: Shots, around: Neighbours, central: Floats, shift: Shift) -> Points:
    """The source, of flux `central` at zero point 26, and its neighbours, all moved by `shift` pixels."""
    (fx, fy), (tx, ty) = shots.fraction, _trail(shots)
    x, y = fx + shift[0], fy + shift[1]
    green = shots.exposures.band[:, None] == 1
    flux = np.where(around.present, flux_of(np.where(green, around.mag_g, around.mag_r)), 0.0)
    share = np.repeat(central[:, None] / TRAIL_POINTS, TRAIL_POINTS, axis=1)
    return Points(
        x=np.hstack([x[:, None] + tx, x[:, None] + around.x]),
        y=np.hstack([y[:, None] + ty, y[:, None] + around.y]),
        flux=np.hstack([share, flux]) * shots.scale[:, None],
        size_x=np.hstack([np.zeros_like(tx), around.size_x]),
        size_y=np.hstack([np.zeros_like(ty), around.size_y]),
    )


def hosts(shots: Shots, shift: Shift) -> Galaxies:
    """The host galaxies, moved by `shift` pixels."""
    (fx, fy), source = shots.fraction, shots.sources
    return Galaxies(
        x=fx + source.host_dx + shift[0],
        y=fy + source.host_dy + shift[1],
        flux=shots.host_flux * shots.scale,
        radius=source.host_radius,
        index=source.host_index,
        axis_ratio=source.host_axis_ratio,
        angle=source.host_angle,
    )
