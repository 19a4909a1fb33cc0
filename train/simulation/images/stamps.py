"""What an alert's images show: drawn, turned so that the source is positive, and masked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import maximum_filter

from train.simulation.arrays import Mask, Pixels
from train.simulation.images import frame, mask
from train.simulation.images.observation import Shots, shoot
from train.simulation.nights.plan import NightPlan
from train.simulation.random import Dice
from train.simulation.sources import population
from train.simulation.sources.source import BORDER_PIXELS, LABELS, SUBCLASSES
from train.simulation.survey import QUADRANT_COLUMNS

Generators = list[np.random.Generator]
SATURATED_DN = 45_000.0
CORE_PIXELS = 19  # side of the square that is masked around a saturated core
SOURCE_PIXELS = 11  # a saturated source of its own is left in: it raised the alert
DARK = SUBCLASSES["bogus"].index("dead pixel")


@dataclass(frozen=True, slots=True)
class Sighting:
    """What is true of some alerts and what their images show; `positive`: brighter than the reference."""

    shots: Shots
    frames: frame.Frames
    masks: Mask
    positive: Mask


def generators(seed: int, plan: NightPlan) -> Generators:
    """A generator an alert, so that its pixels depend on nothing but the seed and the alert."""
    names = np.stack([plan.label, plan.key, plan.cycle, plan.night, plan.band], axis=1).tolist()
    return [np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, *name]))) for name in names]


def _brighter(shots: Shots) -> Mask:
    """Whether each source is brighter than in the reference."""
    dark = (shots.sources.label == LABELS.index("bogus")) & (shots.sources.subclass == DARK)
    brighter: Mask = (shots.flux >= shots.reference_flux) & ~dark
    return brighter


def _pushed_to_edge(dice: Dice, shots: Shots, struck: Mask) -> Shots:
    """Move the struck alerts to where the quadrant's right border cuts their stamps."""
    inside = dice.between(BORDER_PIXELS, 30.0, "edge fault", shots.sources.key, shots.exposures.night)
    return replace(shots, column=np.where(struck, QUADRANT_COLUMNS - inside, shots.column))


def _saturated(science: Pixels) -> Mask:
    """Squares around pixels near full well, but not where they are the source itself."""
    middle, half = science.shape[-1] // 2, SOURCE_PIXELS // 2
    core = science > SATURATED_DN
    core[:, middle - half : middle + half + 1, middle - half : middle + half + 1] = False
    grown: Mask = maximum_filter(core, size=(1, CORE_PIXELS, CORE_PIXELS))
    return grown


def _masks(science: Pixels, dice: Dice, plan: NightPlan, noise: Generators, struck: Mask | None) -> Mask:
    masks = _saturated(science) if (science > SATURATED_DN).any() else np.zeros(science.shape, dtype=bool)
    start = (mask.SIDE - science.shape[-1]) // 2
    inside = slice(start, start + science.shape[-1])
    keys = (plan.label, plan.key, plan.cycle, plan.night, plan.band)
    natural = dice.uniform("masked", *keys) < mask.NATURAL_SHARE
    for row in np.flatnonzero(natural if struck is None else natural | struck):
        masks[row] |= mask.draw(noise[row])[inside, inside]
    return masks


def sight(
    dice: Dice, plan: NightPlan, noise: Generators, side: int = mask.SIDE, faults: Mapping[str, Mask] | None = None
) -> Sighting:
    """Draw alerts: their shots, images of `side` pixels and masks; `faults` marks rows to mask or push to an edge."""
    faults = faults or {}
    shots = shoot(dice, population.draw(dice, plan.label, plan.key, plan.cycle), plan.night, plan.band, plan.jd)
    if "edge" in faults:
        shots = _pushed_to_edge(dice, shots, faults["edge"])
    frames = frame.draw(dice, shots, noise, side)
    brighter = _brighter(shots)
    turned = frames.difference * np.where(brighter, 1.0, -1.0).astype(np.float32)[:, None, None]
    masks = _masks(frames.science, dice, plan, noise, faults.get("nan"))
    return Sighting(shots, replace(frames, difference=turned), masks, brighter)
