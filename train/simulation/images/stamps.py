"""The images of an alert: drawn, turned so that the source is positive, and masked.

Masked pixels are those that the survey gives as NaN: bad pixels grown to squares, saturated cores, strips at borders,
ragged bands. Shapes and rates follow the real stamps, of which 13 % have NaN, 1 to 2,149 pixels of 3,969.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import maximum_filter

from model_zoo.preprocess import STAMP_SIDE
from train.simulation.images import frame
from train.simulation.images.observation import Observations, observe
from train.simulation.nights.plan import NightPlan
from train.simulation.random import KeyedRandom, Mask, Pixels
from train.simulation.sources import population
from train.simulation.sources.source import BORDER_PIXELS, LABELS, SUBCLASSES
from train.simulation.survey import QUADRANT_COLUMNS

NATURAL_SHARE = 0.115  # with saturated neighbours and borders it comes to 13 %
MASK_SHAPES = ("square", "core", "strip", "ragged", "wedge", "segment")
MASK_SHARES = (0.50, 0.16, 0.13, 0.09, 0.03, 0.09)
SPARED_PIXELS = 4  # masked sources raise no alerts: a square stays this far from the middle
SCIENCE_ONLY = 0.05  # share of masked stamps whose template is whole


def _block(rng: np.random.Generator, size: int) -> Mask:
    mask = np.zeros((STAMP_SIDE, STAMP_SIDE), dtype=bool)
    reach = STAMP_SIDE // 2
    while True:
        x, y = rng.integers(-reach - size // 2, reach + size // 2 + 1, 2)
        if max(abs(x), abs(y)) > size // 2 + SPARED_PIXELS:
            break
    low = np.maximum([y + reach - size // 2, x + reach - size // 2], 0)
    mask[low[0] : max(y + reach + size // 2 + 1, 0), low[1] : max(x + reach + size // 2 + 1, 0)] = True
    return mask


def _core(rng: np.random.Generator) -> Mask:
    size = int(rng.integers(15, 22))
    mask = _block(rng, size)
    rows, columns = np.nonzero(mask)
    if len(rows) == size * size:  # whole: round its corners by two pixels
        for row in (rows.min(), rows.max()):
            mask[row, [columns.min(), columns.min() + 1, columns.max() - 1, columns.max()]] = False
    return mask


def _strip(rng: np.random.Generator) -> Mask:
    mask = np.zeros((STAMP_SIDE, STAMP_SIDE), dtype=bool)
    mask[:, : rng.integers(3, 25)] = True
    return mask


def _ragged(rng: np.random.Generator) -> Mask:
    mask = np.zeros((STAMP_SIDE, STAMP_SIDE), dtype=bool)
    edges = np.repeat(rng.integers(2, 18, 14), rng.integers(3, 9, 14))[:STAMP_SIDE]
    for place, depth in enumerate(edges):
        mask[:depth, place] = True
    return mask


def _wedge(rng: np.random.Generator) -> Mask:
    x, y = np.meshgrid(np.arange(STAMP_SIDE), np.arange(STAMP_SIDE))
    return np.asarray(x + rng.uniform(0.4, 2.5) * y < rng.uniform(15, 40))


def _segment(rng: np.random.Generator) -> Mask:
    mask = np.zeros((STAMP_SIDE, STAMP_SIDE), dtype=bool)
    column, start = rng.integers(0, STAMP_SIDE // 2 - 6), rng.integers(0, STAMP_SIDE - 10)
    mask[start : start + rng.integers(4, 40), column : column + rng.integers(1, 5)] = True
    return mask


def _turned(rng: np.random.Generator, mask: Mask) -> Mask:
    return np.rot90(mask, int(rng.choice([0, 2])))


def draw_mask(rng: np.random.Generator) -> Mask:
    """One to three masked shapes on a 63×63 stamp; the middle is spared but by strips and bands that reach it."""
    mask = np.zeros((STAMP_SIDE, STAMP_SIDE), dtype=bool)
    for _ in range(1 + int(rng.random() < 0.22) + int(rng.random() < 0.08)):
        shape = MASK_SHAPES[int(rng.choice(len(MASK_SHAPES), p=MASK_SHARES))]
        if shape == "square":
            mask |= _block(rng, 9)
        elif shape == "core":
            mask |= _core(rng)
        else:
            mask |= _turned(rng, {"strip": _strip, "ragged": _ragged, "wedge": _wedge, "segment": _segment}[shape](rng))
    return mask


Generators = list[np.random.Generator]
SATURATED_DN = 45_000.0
CORE_PIXELS = 19  # side of the square that is masked around a saturated core
SOURCE_PIXELS = 11  # a saturated source of its own is left in: it raised the alert
DARK = SUBCLASSES["bogus"].index("dead pixel")


@dataclass(frozen=True, slots=True)
class AlertStamps:
    """What is true of some alerts and what their images show; `positive`: brighter than the reference."""

    obs: Observations
    frames: frame.Frames
    masks: Mask
    positive: Mask


def generators(seed: int, plan: NightPlan) -> Generators:
    """A generator an alert, so that its pixels depend on nothing but the seed and the alert."""
    names = np.stack([plan.label, plan.key, plan.cycle, plan.night, plan.band], axis=1).tolist()
    return [np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, *name]))) for name in names]


def _brighter(obs: Observations) -> Mask:
    """Whether each source is brighter than in the reference."""
    dark = (obs.sources.label == LABELS.index("bogus")) & (obs.sources.subclass == DARK)
    brighter: Mask = (obs.flux >= obs.reference_flux) & ~dark
    return brighter


def _pushed_to_edge(random: KeyedRandom, obs: Observations, struck: Mask) -> Observations:
    """Move the struck alerts to where the quadrant's right border cuts their stamps."""
    inside = random.between(BORDER_PIXELS, 30.0, "edge fault", obs.sources.key, obs.exposures.night)
    return replace(obs, column=np.where(struck, QUADRANT_COLUMNS - inside, obs.column))


def _saturated(science: Pixels) -> Mask:
    """Squares around pixels near full well, but not where they are the source itself."""
    middle, half = science.shape[-1] // 2, SOURCE_PIXELS // 2
    core = science > SATURATED_DN
    core[:, middle - half : middle + half + 1, middle - half : middle + half + 1] = False
    grown: Mask = maximum_filter(core, size=(1, CORE_PIXELS, CORE_PIXELS))
    return grown


def _masks(science: Pixels, random: KeyedRandom, plan: NightPlan, noise: Generators, struck: Mask | None) -> Mask:
    masks = _saturated(science) if (science > SATURATED_DN).any() else np.zeros(science.shape, dtype=bool)
    start = (STAMP_SIDE - science.shape[-1]) // 2
    inside = slice(start, start + science.shape[-1])
    keys = (plan.label, plan.key, plan.cycle, plan.night, plan.band)
    natural = random.uniform("masked", *keys) < NATURAL_SHARE
    for row in np.flatnonzero(natural if struck is None else natural | struck):
        masks[row] |= draw_mask(noise[row])[inside, inside]
    return masks


def draw_alert_stamps(
    random: KeyedRandom,
    plan: NightPlan,
    noise: Generators,
    side: int = STAMP_SIDE,
    faults: Mapping[str, Mask] | None = None,
) -> AlertStamps:
    """Draw alerts: observations, images of `side` pixels and masks; `faults` marks rows to mask or push to an edge."""
    faults = faults or {}
    obs = observe(
        random, population.draw_sources(random, plan.label, plan.key, plan.cycle), plan.night, plan.band, plan.jd
    )
    if "edge" in faults:
        obs = _pushed_to_edge(random, obs, faults["edge"])
    frames = frame.draw_frames(random, obs, noise, side)
    brighter = _brighter(obs)
    turned = frames.difference * np.where(brighter, 1.0, -1.0).astype(np.float32)[:, None, None]
    masks = _masks(frames.science, random, plan, noise, faults.get("nan"))
    return AlertStamps(obs, replace(frames, difference=turned), masks, brighter)
