"""Galactic and ecliptic coordinates of J2000 positions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

NORTH_GALACTIC_POLE = (192.85948, 27.12825)
ASCENDING_LONGITUDE_DEG = 122.93192
OBLIQUITY_DEG = 23.43929


def galactic(ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
    """Galactic (longitude, latitude) of equatorial J2000 positions, all in degrees."""
    pole_ra, pole_dec = np.radians(NORTH_GALACTIC_POLE)
    hour, height = np.radians(ra) - pole_ra, np.radians(dec)
    sine = np.sin(height) * np.sin(pole_dec) + np.cos(height) * np.cos(pole_dec) * np.cos(hour)
    across = np.cos(height) * np.sin(hour)
    along = np.sin(height) * np.cos(pole_dec) - np.cos(height) * np.sin(pole_dec) * np.cos(hour)
    longitude = ASCENDING_LONGITUDE_DEG - np.degrees(np.arctan2(across, along))
    return longitude % 360.0, np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0)))


def ecliptic(ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
    """Ecliptic (longitude, latitude) of equatorial J2000 positions, all in degrees."""
    tilt, east, height = np.radians(OBLIQUITY_DEG), np.radians(ra), np.radians(dec)
    sine = np.sin(height) * np.cos(tilt) - np.cos(height) * np.sin(tilt) * np.sin(east)
    longitude = np.arctan2(
        np.sin(east) * np.cos(tilt) * np.cos(height) + np.sin(height) * np.sin(tilt),
        np.cos(east) * np.cos(height),
    )
    return np.degrees(longitude) % 360.0, np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0)))
