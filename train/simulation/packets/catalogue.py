"""Catalogued objects near each source: in the reference image, in Pan-STARRS 1 and in Gaia."""

from dataclasses import dataclass

import numpy as np

from train.simulation.images.composition import PIXEL_ARCSEC, Neighbours
from train.simulation.images.observation import Observations
from train.simulation.random import Columns, Floats, Ints, KeyedRandom, Mask
from train.simulation.survey import PIXEL_DEG

MISSING = -999.0
RADIUS_ARCSEC = 30.0
REFERENCE_DEPTH, PS1_DEPTH, GAIA_DEPTH = 23.0, 22.4, 20.4
BLANK_DENSITY = 0.0035  # noise peaks and faint galaxies of a reference image, a square pixel
GAIA_RADIUS_ARCSEC, BRIGHT_GAIA = 90.0, 14.0
MATCH_PIXELS = 1.2  # a host this close to a bright nucleus is catalogued as one with it


@dataclass(frozen=True, slots=True)
class Vicinity:
    """Real objects on each stamp, (n, M): pixels from the source, magnitudes, whether extended, and if present."""

    x: Floats
    y: Floats
    mag_g: Floats
    mag_r: Floats
    extended: Mask
    present: Mask

    @property
    def distance(self) -> Floats:
        """Pixels to the source; infinite where nothing is present."""
        return np.where(self.present, np.hypot(self.x, self.y), np.inf)


def vicinity(random: KeyedRandom, obs: Observations, around: Neighbours) -> Vicinity:
    """The source itself where it lasts, its host, and its neighbours."""
    s = obs.sources
    keys = (s.label, s.key, s.cycle)
    jitter = [0.14 * random.normal(f"centroid {axis}", *keys) for axis in "xy"]
    steady = s.mean_r < 90.0
    apart = np.hypot(s.host_dx, s.host_dy) > MATCH_PIXELS
    host = (s.host_r < 90.0) & (apart | ~steady | (s.host_r < s.mean_r))
    own = steady & (apart | (s.host_r >= s.mean_r))

    def stack(first: Floats, second: Floats, rest: Floats) -> Floats:
        return np.hstack([np.stack([first, second], axis=1), rest])

    return Vicinity(
        x=stack(jitter[0], s.host_dx + jitter[0], around.x),
        y=stack(jitter[1], s.host_dy + jitter[1], around.y),
        mag_g=stack(s.mean_g, s.host_g, around.mag_g),
        mag_r=stack(s.mean_r, s.host_r, around.mag_r),
        extended=np.hstack([np.stack([~own, host], axis=1), around.galaxy]),
        present=np.hstack([np.stack([own, host], axis=1), around.present]),
    )


def _nearest(distance: Floats, count: int) -> Ints:
    return np.argsort(distance, axis=1, kind="stable")[:, :count]


def _pick(values: np.ndarray, index: Ints) -> np.ndarray:
    return np.take_along_axis(values, index[:, None], axis=1)[:, 0]


def reference_source(random: KeyedRandom, obs: Observations, near: Vicinity) -> Columns:
    """The closest source of the reference image: distance in pixels, magnitude, shape, position in degrees."""
    band = obs.exposures.band[:, None]
    magnitude = np.where(band == 1, near.mag_g, near.mag_r)
    distance = np.where(magnitude < REFERENCE_DEPTH + 0.2, near.distance, np.inf)
    first = _nearest(distance, 1)[:, 0]
    away, extended = _pick(distance, first), _pick(near.extended, first)
    keys = (obs.sources.label, obs.sources.key, obs.sources.cycle)
    blank = np.sqrt(-np.log(random.uniform("blank distance", *keys)) / (np.pi * BLANK_DENSITY))
    faint = 23.4 - 0.6 * -np.log(random.uniform("blank magnitude", *keys))
    lonely = blank < away  # a noise peak of the stack is the closest entry
    mag = np.where(lonely, faint, _pick(magnitude, first))
    around, up = np.where(lonely, blank, _pick(near.x, first)), np.where(lonely, 0.0, _pick(near.y, first))
    weak = np.clip(mag - 20.0, 0.0, 3.0)
    clear = (extended & ~lonely) * np.clip(1.0 - weak / 2.0, 0.0, 1.0)  # a faint galaxy is as sharp as a star
    chi = (0.72 + 2.2 * clear) * np.exp((0.35 + 0.15 * clear) * random.normal("chinr", *keys))
    sharp = 0.3 * clear - 0.015 - 0.06 * weak + (0.03 + 0.08 * weak) * random.normal("sharpnr", *keys)
    east = around * PIXEL_DEG / np.cos(np.radians(obs.sources.dec))
    return {
        "distnr": np.where(lonely, blank, away), "magnr": np.round(mag, 3),
        "sigmagnr": np.round(np.clip(0.013 + 0.33 * 10.0 ** (0.33 * (mag - 23.2)), 0.012, 0.36), 3),
        "chinr": np.round(chi, 3), "sharpnr": np.round(sharp, 3),
        "ranr": np.round((obs.sources.ra - east) % 360.0, 7),
        "decnr": np.round(obs.sources.dec + up * PIXEL_DEG, 7),
    }  # fmt: skip


def _ps1_columns(
    random: KeyedRandom, obs: Observations, near: Vicinity, place: int, index: Ints, arcsec: Floats
) -> Columns:
    """The columns of the closest, second or third closest source of Pan-STARRS 1; -999 where there is none."""
    keys = (obs.sources.label, obs.sources.key, obs.sources.cycle, np.full(len(obs), place))
    here = arcsec <= RADIUS_ARCSEC
    red, green, extended = _pick(near.mag_r, index), _pick(near.mag_g, index), _pick(near.extended, index)
    doubt = np.clip((red - 19.5) / 3.0, 0.0, 1.0)
    star = np.where(extended, 0.02, 0.985) * (1.0 - doubt) + 0.5 * doubt
    score = np.clip(star + (0.02 + 0.25 * doubt) * random.normal("sgscore", *keys), 0.0, 1.0)
    slope = green - red
    bands = {"g": green, "r": red, "i": red - 0.45 * slope, "z": red - 0.65 * slope}
    columns: Columns = {}
    for band, magnitude in bands.items():
        seen = here & (magnitude < PS1_DEPTH + 0.5) & (random.uniform(f"ps1 {band}", *keys) > 0.04)
        columns[f"s{band}mag{place}"] = np.where(seen, np.round(magnitude, 4), MISSING)
    declination = obs.sources.dec + _pick(near.y, index) * PIXEL_DEG
    zone = np.floor((declination + 90.0) * 120.0).astype(np.int64)
    number = zone * 10**13 + np.floor(obs.sources.ra * 1e10).astype(np.int64) + place
    columns[f"objectidps{place}"] = np.where(here, number, int(MISSING))
    columns[f"sgscore{place}"] = np.where(here, score, MISSING)
    columns[f"distpsnr{place}"] = np.where(here, arcsec, MISSING)
    return columns


def pan_starrs(random: KeyedRandom, obs: Observations, near: Vicinity) -> Columns:
    """The three closest sources of Pan-STARRS 1 within 30 arcsec, and how many there are."""
    arcsec = np.where(near.mag_r < PS1_DEPTH, near.distance * PIXEL_ARCSEC, np.inf)
    columns: Columns = {"nmtchps": (arcsec <= RADIUS_ARCSEC).sum(axis=1)}
    for place, index in enumerate(_nearest(arcsec, 3).T, start=1):
        columns |= _ps1_columns(random, obs, near, place, index, _pick(arcsec, index))
    return columns


def _gaia(random: KeyedRandom, obs: Observations, near: Vicinity, depth: float, name: str) -> tuple[Floats, Floats]:
    arcsec = np.where((near.mag_r < depth) & ~near.extended, near.distance * PIXEL_ARCSEC, np.inf)
    first = _nearest(arcsec, 1)[:, 0]
    away, magnitude = _pick(arcsec, first), _pick(near.mag_r, first)
    keys = (obs.sources.label, obs.sources.key, obs.sources.cycle)
    # beyond the stamp: the nearest of a uniform field of the same density
    density = obs.sources.crowd * 10.0 ** (0.30 * (depth - 22.6))
    drawn = np.sqrt(35.0**2 - np.log(random.uniform(f"{name} distance", *keys)) / (np.pi * density))
    guess = depth + np.log10(random.uniform(f"{name} magnitude", *keys)) / 0.30
    beyond = ~np.isfinite(away)
    away, magnitude = np.where(beyond, drawn, away), np.where(beyond, guess, magnitude)
    none = away > GAIA_RADIUS_ARCSEC
    return np.where(none, MISSING, away), np.where(none, MISSING, magnitude)


def gaia(random: KeyedRandom, obs: Observations, near: Vicinity) -> Columns:
    """The closest Gaia source within 90 arcsec, and the closest one brighter than magnitude 14."""
    distance, magnitude = _gaia(random, obs, near, GAIA_DEPTH, "gaia")
    bright_distance, bright_magnitude = _gaia(random, obs, near, BRIGHT_GAIA, "bright gaia")
    return {
        "neargaia": distance, "neargaiabright": bright_distance,
        "maggaia": magnitude, "maggaiabright": bright_magnitude,
    }  # fmt: skip
