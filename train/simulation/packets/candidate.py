"""The fields of a packet's candidate, drawn and measured so that they agree with the scene and with each other."""

from dataclasses import dataclass

import numpy as np

from train.simulation.images.observation import Shots, moment
from train.simulation.packets.catalogue import MISSING, Vicinity, gaia, pan_starrs, reference_source
from train.simulation.packets.identity import (
    DRB_VERSION,
    RB_VERSION,
    calibrators,
    candids,
    designations,
    edge_distance,
    file_stems,
    identifiers,
    reference_columns,
    table_rows,
    zero_points,
)
from train.simulation.packets.photometry import Measurement
from train.simulation.random import Columns, Dice, Floats, Ints, Mask
from train.simulation.sources.source import LABELS

# medians of rb by class in real packets
RB_MEDIAN = {"AGN": 0.90, "SN": 0.90, "VS": 0.72, "asteroid": 0.76, "bogus": 0.30}


def _logistic(value: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-value))


def real_bogus_scores(dice: Dice, shots: Shots, signal_to_noise: Floats) -> Columns:
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


MAG_PER_SIGMA = 1.0857  # 2.5 / ln 10
FILTER_GAIN = 1.15  # the filtered image is smoother than white noise would leave it


@dataclass(frozen=True, slots=True)
class CandidateRecord:
    """How often a source was seen before: detections, times covered, dates of the first and the last detection."""

    detections: Ints
    covered: Ints
    first_jd: Floats
    last_jd: Floats


def brightness(shots: Shots, seen: Measurement) -> Columns:
    """Magnitudes of the difference with their errors."""
    zero = shots.exposures.zero_point
    error = seen.noise * np.array([[12.4], [16.0]])
    apertures = [np.hypot(e, 0.008 * f) for e, f in zip(error, (seen.aperture, seen.big_aperture), strict=True)]
    magpsf = zero - 2.5 * np.log10(seen.flux)
    magap = np.round(zero - 2.5 * np.log10(seen.aperture), 4)
    return {
        "diffmaglim": shots.exposures.limit,
        "magpsf": magpsf, "sigmapsf": MAG_PER_SIGMA * seen.error / seen.flux, "chipsf": seen.chi,
        "magap": magap, "sigmagap": np.round(np.minimum(MAG_PER_SIGMA * apertures[0] / seen.aperture, 1.0), 4),
        "magdiff": magap - magpsf, "magfromlim": shots.exposures.limit - magap,
        "magapbig": np.round(zero - 2.5 * np.log10(seen.big_aperture), 4),
        "sigmagapbig": np.round(np.minimum(MAG_PER_SIGMA * apertures[1] / seen.big_aperture, 1.2), 4),
    }  # fmt: skip


def outline(dice: Dice, shots: Shots, seen: Measurement) -> Columns:
    """Shape and noise statistics of the detection."""
    width = np.round(seen.fwhm, 2)
    major, minor = np.round(seen.major, 3), np.round(seen.minor, 3)
    ratio = np.clip(shots.exposures.seeing / np.maximum(width, 0.5), 0.2, 2.0)
    return {
        "sky": seen.sky, "fwhm": width, "classtar": star_score(dice, shots, seen.filtered_ratio),
        "seeratio": ratio, "aimage": major, "bimage": minor,
        "aimagerat": major / width, "bimagerat": minor / width, "elong": major / minor,
        "nneg": seen.negatives, "sumrat": seen.sum_ratio,
        "scorr": seen.filtered_ratio * np.exp(0.06 * dice.normal("scorr", *moment(shots))),
        "dsnrms": seen.peak_ratio, "ssnrms": FILTER_GAIN * seen.filtered_ratio,
        "dsdiff": seen.peak_ratio - FILTER_GAIN * seen.filtered_ratio,
    }  # fmt: skip


def solar_system(dice: Dice, shots: Shots) -> Columns:
    """The known body nearest to the source: the asteroid itself, or none (rarely one without a name, 60 arcsec off)."""
    keys = moment(shots)
    moving = shots.sources.label == LABELS.index("asteroid")
    near = np.round(np.abs(dice.normal("ephemeris", *keys)) * 0.7)
    strayed = ~moving & (dice.uniform("stray body", *keys) < 0.08)
    magnitude = np.round(shots.sources.amplitude + 0.25 * dice.normal("ephemeris magnitude", *keys), 1)
    return {
        "ssdistnr": np.where(moving, near, np.where(strayed, 60.0, MISSING)),
        "ssmagnr": np.where(moving, magnitude, MISSING),
        "ssnamenr": np.array(designations(shots.sources)),
    }


def placement(dice: Dice, shots: Shots, positive: Mask) -> Columns:
    """Identifiers and position of the detection."""
    base = identifiers(shots)
    row = table_rows(shots.sources)
    keys = moment(shots)
    wobble = 0.00003  # degrees: 0.1 arcsec of centroiding
    east = wobble * dice.normal("ra error", *keys) / np.cos(np.radians(shots.sources.dec))
    return base | {
        "candid": candids(base["pid"], row, positive),
        "isdiffpos": np.where(positive, "t", "f"), "tblid": row,
        "pdiffimfilename": np.array(file_stems(base)),
        "xpos": shots.column, "ypos": shots.row,
        "mindtoedge": edge_distance(shots.column, shots.row),
        "ra": np.round((shots.sources.ra + east) % 360.0, 7),
        "dec": np.round(shots.sources.dec + wobble * dice.normal("dec error", *keys), 7),
    }  # fmt: skip


def candidates(
    dice: Dice, shots: Shots, positive: Mask, seen: Measurement, near: Vicinity, record: CandidateRecord
) -> Columns:
    """All candidate columns of schema 4.02, one row an alert; `nbad` is left to whoever masks the stamps."""
    zero = zero_points(dice, shots)
    count = len(shots)
    columns = placement(dice, shots, positive) | brightness(shots, seen) | outline(dice, shots, seen)
    columns |= reference_source(dice, shots, near) | pan_starrs(dice, shots, near) | gaia(dice, shots, near)
    columns |= solar_system(dice, shots) | real_bogus_scores(dice, shots, seen.filtered_ratio)
    columns |= zero | calibrators(dice, shots, zero["magzpsciunc"]) | reference_columns(shots)
    return columns | {
        "ndethist": record.detections, "ncovhist": record.covered,
        "jdstarthist": record.first_jd, "jdendhist": record.last_jd,
        "nbad": np.zeros(count, dtype=np.int64), "tooflag": np.zeros(count, dtype=np.int64),
        "rbversion": np.full(count, RB_VERSION), "drbversion": np.full(count, DRB_VERSION),
    }  # fmt: skip
