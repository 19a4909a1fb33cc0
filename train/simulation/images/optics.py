"""Point-spread functions as they are and as the pipeline models them, and how well images lie over each other."""

import numpy as np

from train.simulation.arrays import Floats, Ints, Mask
from train.simulation.images.observation import Shots
from train.simulation.images.scene import PointSpread
from train.simulation.random import Dice
from train.simulation.sources.source import LABELS, SUBCLASSES

REGISTRATION_PIXELS = 0.06
DIPOLE_PIXELS = 0.45
TAPERED_SHARE = 0.45
BELIEF_SCATTER = 0.02  # relative error of the modelled width
RESIDUAL_SCATTER = 0.13  # the same where a star left a residual


def is_kind(shots: Shots, *kinds: str) -> Mask:
    """Rows that are artefacts of one of the kinds named."""
    codes = [SUBCLASSES["bogus"].index(kind) for kind in kinds]
    mask: Mask = (shots.sources.label == LABELS.index("bogus")) & np.isin(shots.sources.subclass, codes)
    return mask


def moment(shots: Shots) -> tuple[Ints, ...]:
    """Keys that tell one shot from all others."""
    return (shots.sources.label, shots.sources.key, shots.exposures.night, shots.exposures.band)


def registration(dice: Dice, shots: Shots) -> tuple[Floats, Floats]:
    """Pixels by which the reference is misplaced: a few hundredths, half a pixel where it made a dipole."""
    size = np.where(is_kind(shots, "dipole"), DIPOLE_PIXELS, REGISTRATION_PIXELS)
    keys = moment(shots)
    return size * dice.normal("registration x", *keys), size * dice.normal("registration y", *keys)


def taper_strength(dice: Dice, shots: Shots) -> Floats:
    """How strongly each difference is tapered: the survey's practice changed over the years, and by exposure."""
    e = shots.exposures
    tapered = dice.uniform("tapered", e.field, e.night) < TAPERED_SHARE
    return np.where(tapered, dice.between(0.4, 1.4, "taper", e.field, e.night, e.band, shots.sources.channel), 0.0)


def reference_correlation(dice: Dice, shots: Shots) -> tuple[Floats, Floats]:
    """Noise correlation at one and two pixels of each reference image along x and along y, (n, 2) each."""
    s, band = shots.sources, shots.exposures.band
    spread = [dice.normal(f"reference correlation {axis}", s.field, s.channel, band) for axis in "xy"]
    second = np.full(len(shots), -0.13)
    return np.stack([0.165 + 0.03 * spread[0], second], axis=1), np.stack([0.2 + 0.025 * spread[1], second], axis=1)


def science_spread(shots: Shots) -> PointSpread:
    """The point-spread function of each exposure."""
    e = shots.exposures
    return PointSpread(e.seeing, e.ellipticity, e.coma_x, e.coma_y)


def reference_spread(shots: Shots) -> PointSpread:
    """The point-spread function of each reference image: a stack is rounder than its frames."""
    straight = np.zeros(len(shots))
    return PointSpread(shots.references.seeing, shots.references.ellipticity, straight, straight)


def believed(dice: Dice, shots: Shots, true: PointSpread, name: str) -> PointSpread:
    """The pipeline's model of a point-spread function: a little off, and far off where a star left a residual."""
    keys = moment(shots)
    wrong = np.where(is_kind(shots, "residual", "bleed"), RESIDUAL_SCATTER, BELIEF_SCATTER)
    return PointSpread(
        width=true.width * np.exp(wrong * dice.normal(f"belief {name}", *keys)),
        ellipticity=true.ellipticity + 0.012 * dice.normal(f"belief shape {name}", *keys),
        coma_x=0.5 * true.coma_x,
        coma_y=0.5 * true.coma_y,
    )
