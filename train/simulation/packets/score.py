"""Scores that other models gave: real or bogus, star or galaxy. Drawn, since those models are not ours to run."""

import numpy as np

from train.simulation.arrays import Columns, Floats
from train.simulation.images.observation import Shots
from train.simulation.images.optics import moment
from train.simulation.random import Dice
from train.simulation.sources.source import LABELS

# medians of rb by class in real packets
RB_MEDIAN = {"AGN": 0.90, "SN": 0.90, "VS": 0.72, "asteroid": 0.76, "bogus": 0.30}


def _logistic(value: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-value))


def scores(dice: Dice, shots: Shots, signal_to_noise: Floats) -> Columns:
    """`rb` and `drb`, both in (0, 1): rb doubts faint sources, drb is sure of itself."""
    keys = moment(shots)
    median = np.array([RB_MEDIAN[label] for label in LABELS])[shots.sources.label]
    bright = np.clip(np.log(np.maximum(signal_to_noise, 5.0) / 12.0), -1.0, 1.5)
    rb = _logistic(np.log(median / (1.0 - median)) + 0.3 * bright + 0.75 * dice.normal("rb", *keys))
    bogus = shots.sources.label == LABELS.index("bogus")
    centre = np.where(bogus, -3.7, 8.0 + bright)
    drb = _logistic(centre + np.where(bogus, 1.4, 2.4) * dice.normal("drb", *keys))
    return {"rb": rb, "drb": drb}


def star_score(dice: Dice, shots: Shots, signal_to_noise: Floats) -> Floats:
    """SExtractor's `classtar`: near 1 but for faint detections."""
    faint = np.clip(2.0 - signal_to_noise / 12.0, 0.0, 2.0)
    return np.round(_logistic(4.1 - 1.0 * faint + 0.9 * dice.normal("classtar", *moment(shots))), 3)
