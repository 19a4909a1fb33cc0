"""The survey: its fields and readout channels, and when each field is visited."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from model_zoo.coordinates import ecliptic, galactic
from train.simulation.random import Floats, Ints, KeyedRandom

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


NIGHT_ZERO_JD = 2457754.5  # ZTF counts its nights from 2017-01-01 UT
SURVEY_START_NIGHT = 440  # March 2018
DUSK_DAY, DAWN_DAY = 0.125, 0.49  # Palomar's night in fractions of a UT day
SLOT_LIMITS_DAY = (40.0 / 86400.0, 90.0 / 86400.0)  # 30 s of exposure and 10 s of readout, up to a slow night
BLOCK_FIELDS = 24  # so many fields in one filter, then the same in the other: 16 to 36 minutes apart
SEASON_HALF_WIDTH_DEG = 75.0
WEATHER_LOSS = 0.12
G, R = 1, 2


def julian_date(night: int) -> float:
    """Julian date at 0 h UT of a night number."""
    return NIGHT_ZERO_JD + night


def _in_season(night: int) -> tuple[Floats, np.ndarray]:
    """Offset from the midnight meridian in degrees, and whether the field is up, both (F,)."""
    grid = fields()
    days = julian_date(night) - 2451545.0
    midnight_ra = 280.46 + 0.98565 * days + 180.0
    offset = (grid.ra - midnight_ra + 180.0) % 360.0 - 180.0
    return offset, np.abs(offset) < SEASON_HALF_WIDTH_DEG


@dataclass(frozen=True, slots=True)
class VisitSchedule:
    """The exposures of one night.

    `jd` has shape (F, 2): start of the exposure of each field in g and r, NaN where there is none.
    """

    night: int
    jd: Floats

    def visits(self) -> tuple[Ints, Ints, Floats]:
        """(field index, filter number, jd) of every exposure, in time order."""
        field, band = np.nonzero(np.isfinite(self.jd))
        order = np.argsort(self.jd[field, band], kind="stable")
        return field[order], band[order] + G, self.jd[field, band][order]


def _blocks(due: Ints, swap: np.ndarray) -> tuple[Ints, Ints]:
    """Fields and bands (0 g, 1 r) in the order they are exposed: block by block, one filter after the other."""
    field, band = [], []
    for number, start in enumerate(range(0, len(due), BLOCK_FIELDS)):
        block = due[start : start + BLOCK_FIELDS]
        first = int(swap[number])
        field += [block, block]
        band += [np.full(len(block), first), np.full(len(block), 1 - first)]
    return np.concatenate(field), np.concatenate(band)


@lru_cache(maxsize=4096)
def visit_schedule(seed: int, night: int) -> VisitSchedule:
    """The night's exposures, a function of the seed and the night number alone."""
    random, count = KeyedRandom(seed), len(fields().number)
    index = np.arange(count)
    offset, up = _in_season(night)
    cadence = 2 + (random.uniform("cadence", index) < 0.5)
    phase = np.floor(random.uniform("phase", index) * cadence)
    due = up & ((night + phase) % cadence == 0) & (random.uniform("weather", index, night) > WEATHER_LOSS)
    chosen = np.flatnonzero(due)[np.argsort(offset[due], kind="stable")]
    jd = np.full((count, 2), np.nan)
    if len(chosen):
        swap = random.uniform("first filter", night, np.arange(len(chosen))) < 0.5
        field, band = _blocks(chosen, swap)
        slot = np.clip((DAWN_DAY - DUSK_DAY) / len(field), *SLOT_LIMITS_DAY)
        jd[field, band] = julian_date(night) + DUSK_DAY + slot * np.arange(len(field))
    return VisitSchedule(night, jd)


def visit_window(seed: int, last: int, nights: int) -> Floats:
    """Exposure starts of `nights` nights up to and with `last`: (nights, F, 2), NaN where there is none."""
    return np.stack([visit_schedule(seed, night).jd for night in range(last - nights + 1, last + 1)])
