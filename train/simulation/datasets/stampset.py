"""Images, features and names of planned alerts, drawn at the size a data set wants."""

from dataclasses import dataclass

import numpy as np

from model_zoo.coordinates import ecliptic, galactic
from model_zoo.preprocess import normalise
from train.simulation.arrays import Columns, Floats, Pixels
from train.simulation.images.neighbourhood import neighbours
from train.simulation.images.stamps import Sighting, generators, sight
from train.simulation.nights.plan import NightPlan
from train.simulation.packets import catalogue
from train.simulation.packets.candidate import candidates
from train.simulation.packets.history import earlier, record
from train.simulation.packets.identity import object_ids
from train.simulation.packets.photometry import measure
from train.simulation.random import Dice

# ALeRCE's features beside each image, in order
FEATURES = (
    "sgscore1", "distpsnr1", "sgscore2", "distpsnr2", "sgscore3", "distpsnr3",
    "isdiffpos", "fwhm", "magpsf", "sigmapsf", "ra", "dec", "diffmaglim", "rb", "distnr", "magnr",
    "classtar", "ndethist", "ncovhist",
    "ecl_lat", "ecl_long", "gal_lat", "gal_long", "non_detections", "chinr", "sharpnr",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SimulatedStamps:
    """Alerts as a data set has them.

    images: (N, 3, side, side) float32: science, template, difference, each channel scaled to [0, 1], NaN as 0.
    features: (N, 26) float64, unclipped, −999 where a packet has it; (N, 0) where none were asked for.
    """

    images: Pixels
    features: Floats
    oid: list[str]


def raw_images(seen: Sighting) -> Pixels:
    """Science, template, difference in DN with NaN where masked, (n, 3, side, side)."""
    images = np.stack([seen.frames.science, seen.frames.template, seen.frames.difference], axis=1)
    return np.where(seen.masks[:, None], np.float32(np.nan), images)


def features(dice: Dice, plan: NightPlan, seen: Sighting) -> Floats:
    """ALeRCE's 26 columns, (n, 26) float64."""
    shots = seen.shots
    near = catalogue.vicinity(dice, shots, neighbours(dice, shots.sources))
    known = record(dice, plan, shots.sources, earlier(dice, plan, shots.sources))
    measured = measure(seen.frames.difference, shots)
    columns: Columns = candidates(dice, shots, seen.positive, measured, near, known)
    columns["isdiffpos"] = np.where(seen.positive, 1.0, -1.0)
    columns["ecl_long"], columns["ecl_lat"] = ecliptic(columns["ra"], columns["dec"])
    columns["gal_long"], columns["gal_lat"] = galactic(columns["ra"], columns["dec"])
    columns["non_detections"] = columns["ncovhist"] - columns["ndethist"]
    return np.stack([columns[name].astype(np.float64) for name in FEATURES], axis=1)


def draw_set(seed: int, plan: NightPlan, side: int, *, with_features: bool) -> SimulatedStamps:
    """Draw a few alerts at `side` pixels (odd, 21 to 63)."""
    dice = Dice(seed)
    seen = sight(dice, plan, generators(seed, plan), side)
    numbers = features(dice, plan, seen) if with_features else np.empty((len(plan), 0))
    return SimulatedStamps(normalise(raw_images(seen)), numbers, object_ids(seen.shots.sources))
