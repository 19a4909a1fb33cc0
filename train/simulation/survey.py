"""The survey's footprint: fields, readout channels, galactic latitude, density of stars, ecliptic latitude."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from model_zoo.coordinates import ecliptic, galactic
from train.simulation.arrays import Floats, Ints

ROW_SPACING_DEG = 7.2  # the camera sees 7.35 degrees; neighbouring rows overlap a little
FIRST_ROW_DEG = -24.85
FIRST_FIELD = 245
QUADRANT_COLUMNS, QUADRANT_ROWS = 3072, 3080
PIXEL_DEG = 1.01 / 3600.0
# 8 x 8 quadrants of 0.864 degrees, and gaps, share 7.35 degrees.
QUADRANT_SPACING_DEG = 7.35 / 8
CHANNELS = 64


def crowding(latitude: Floats) -> Floats:
    """Sources per square arcsec down to magnitude 22 at a galactic latitude in degrees.

    Half of the real high-latitude alerts have 5 PS1 sources or fewer within 30 arcsec (0.0018 per square arcsec);
    near the plane the count rises above 100.
    """
    return 0.0014 + 0.034 * np.exp(-np.abs(latitude) / 6.0)


@dataclass(frozen=True, slots=True)
class SurveyFields:
    """The grid of fields: number, centre, galactic and ecliptic latitude in degrees; arrays of shape (F,)."""

    number: Ints
    ra: Floats
    dec: Floats
    galactic_latitude: Floats
    ecliptic_latitude: Floats


@lru_cache(maxsize=1)
def fields() -> SurveyFields:
    """Rows of constant declination from -25 to 83 degrees, numbered from 245 as ZTF's primary grid."""
    rows = np.arange(FIRST_ROW_DEG, 84.0, ROW_SPACING_DEG)
    counts = np.ceil(360.0 * np.cos(np.radians(rows)) / (ROW_SPACING_DEG * 0.97)).astype(int)
    ra = np.concatenate([np.arange(count) * 360.0 / count for count in counts])
    dec = np.repeat(rows, counts)
    number = FIRST_FIELD + np.arange(len(ra), dtype=np.int64)
    return SurveyFields(number, ra, dec, galactic(ra, dec)[1], ecliptic(ra, dec)[1])


def position(field: Ints, channel: Ints, column: Floats, row: Floats) -> tuple[Floats, Floats]:
    """Equatorial J2000 (ra, dec) in degrees of a pixel of a quadrant; `field` indexes `fields()`.

    Tangent-plane offsets from the field's centre, small-angle: it is a map to be consistent with, not astrometry.
    """
    grid = fields()
    ccd, quadrant = channel // 4, channel % 4
    across = (ccd % 4) * 2 + np.isin(quadrant, (0, 3)) - 3.5
    up = (ccd // 4) * 2 + (quadrant < 2) - 3.5
    east = -(across * QUADRANT_SPACING_DEG + (column - QUADRANT_COLUMNS / 2) * PIXEL_DEG)
    north = up * QUADRANT_SPACING_DEG + (row - QUADRANT_ROWS / 2) * PIXEL_DEG
    dec = np.clip(grid.dec[field] + north, -89.5, 89.5)
    return (grid.ra[field] + east / np.cos(np.radians(dec))) % 360.0, dec
