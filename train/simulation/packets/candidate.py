"""The fields of a packet's candidate, drawn and measured so that they agree with the scene and with each other."""

from dataclasses import dataclass

import numpy as np

from train.simulation.images.observation import Observations, moment
from train.simulation.packets.catalogue import MISSING, Vicinity, gaia, pan_starrs, reference_source
from train.simulation.packets.identity import (
    DRB_VERSION,
    RB_VERSION,
    calibrators,
    candids,
    designations,
    detection_rows,
    edge_distance,
    file_stems,
    identifiers,
    reference_columns,
    zero_points,
)
from train.simulation.packets.photometry import Measurement
from train.simulation.random import Columns, Floats, Ints, KeyedRandom, Mask
from train.simulation.sources.source import LABELS

# medians of rb by class in real packets
RB_MEDIAN = {"AGN": 0.90, "SN": 0.90, "VS": 0.72, "asteroid": 0.76, "bogus": 0.30}


def _logistic(value: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-value))


def real_bogus_scores(random: KeyedRandom, obs: Observations, signal_to_noise: Floats) -> Columns:
    """`rb` and `drb`, both in (0, 1): rb doubts faint sources, drb is sure of itself."""
    keys = moment(obs)
    median = np.array([RB_MEDIAN[label] for label in LABELS])[obs.sources.label]
    bright = np.clip(np.log(np.maximum(signal_to_noise, 5.0) / 12.0), -1.0, 1.5)
    rb = _logistic(np.log(median / (1.0 - median)) + 0.3 * bright + 0.75 * random.normal("rb", *keys))
    bogus = obs.sources.label == LABELS.index("bogus")
    centre = np.where(bogus, -3.7, 8.0 + bright)
    drb = _logistic(centre + np.where(bogus, 1.4, 2.4) * random.normal("drb", *keys))
    return {"rb": rb, "drb": drb}


def star_score(random: KeyedRandom, obs: Observations, signal_to_noise: Floats) -> Floats:
    """SExtractor's `classtar`: near 1 but for faint detections."""
    faint = np.clip(2.0 - signal_to_noise / 12.0, 0.0, 2.0)
    return np.round(_logistic(4.1 - 1.0 * faint + 0.9 * random.normal("classtar", *moment(obs))), 3)


MAG_PER_SIGMA = 1.0857  # 2.5 / ln 10
FILTER_GAIN = 1.15  # the filtered image is smoother than white noise would leave it


@dataclass(frozen=True, slots=True)
class CandidateRecord:
    """How often a source was seen before: detections, times covered, dates of the first and the last detection."""

    detections: Ints
    covered: Ints
    first_jd: Floats
    last_jd: Floats


def brightness(obs: Observations, seen: Measurement) -> Columns:
    """Magnitudes of the difference with their errors."""
    zero = obs.exposures.zero_point
    error = seen.noise * np.array([[12.4], [16.0]])
    apertures = [np.hypot(e, 0.008 * f) for e, f in zip(error, (seen.aperture, seen.big_aperture), strict=True)]
    magpsf = zero - 2.5 * np.log10(seen.flux)
    magap = np.round(zero - 2.5 * np.log10(seen.aperture), 4)
    return {
        "diffmaglim": obs.exposures.limit,
        "magpsf": magpsf, "sigmapsf": MAG_PER_SIGMA * seen.error / seen.flux, "chipsf": seen.chi,
        "magap": magap, "sigmagap": np.round(np.minimum(MAG_PER_SIGMA * apertures[0] / seen.aperture, 1.0), 4),
        "magdiff": magap - magpsf, "magfromlim": obs.exposures.limit - magap,
        "magapbig": np.round(zero - 2.5 * np.log10(seen.big_aperture), 4),
        "sigmagapbig": np.round(np.minimum(MAG_PER_SIGMA * apertures[1] / seen.big_aperture, 1.2), 4),
    }  # fmt: skip


def outline(random: KeyedRandom, obs: Observations, seen: Measurement) -> Columns:
    """Shape and noise statistics of the detection."""
    width = np.round(seen.fwhm, 2)
    major, minor = np.round(seen.major, 3), np.round(seen.minor, 3)
    ratio = np.clip(obs.exposures.seeing / np.maximum(width, 0.5), 0.2, 2.0)
    return {
        "sky": seen.sky, "fwhm": width, "classtar": star_score(random, obs, seen.filtered_ratio),
        "seeratio": ratio, "aimage": major, "bimage": minor,
        "aimagerat": major / width, "bimagerat": minor / width, "elong": major / minor,
        "nneg": seen.negatives, "sumrat": seen.sum_ratio,
        "scorr": seen.filtered_ratio * np.exp(0.06 * random.normal("scorr", *moment(obs))),
        "dsnrms": seen.peak_ratio, "ssnrms": FILTER_GAIN * seen.filtered_ratio,
        "dsdiff": seen.peak_ratio - FILTER_GAIN * seen.filtered_ratio,
    }  # fmt: skip


def solar_system(random: KeyedRandom, obs: Observations) -> Columns:
    """The known body nearest to the source: the asteroid itself, or none (rarely one without a name, 60 arcsec off)."""
    keys = moment(obs)
    moving = obs.sources.label == LABELS.index("asteroid")
    near = np.round(np.abs(random.normal("ephemeris", *keys)) * 0.7)
    strayed = ~moving & (random.uniform("stray body", *keys) < 0.08)
    magnitude = np.round(obs.sources.amplitude + 0.25 * random.normal("ephemeris magnitude", *keys), 1)
    return {
        "ssdistnr": np.where(moving, near, np.where(strayed, 60.0, MISSING)),
        "ssmagnr": np.where(moving, magnitude, MISSING),
        "ssnamenr": np.array(designations(obs.sources)),
    }


def placement(random: KeyedRandom, obs: Observations, positive: Mask) -> Columns:
    """Identifiers and position of the detection."""
    base = identifiers(obs)
    row = detection_rows(obs.sources)
    keys = moment(obs)
    wobble = 0.00003  # degrees: 0.1 arcsec of centroiding
    east = wobble * random.normal("ra error", *keys) / np.cos(np.radians(obs.sources.dec))
    return base | {
        "candid": candids(base["pid"], row, positive),
        "isdiffpos": np.where(positive, "t", "f"), "tblid": row,
        "pdiffimfilename": np.array(file_stems(base)),
        "xpos": obs.column, "ypos": obs.row,
        "mindtoedge": edge_distance(obs.column, obs.row),
        "ra": np.round((obs.sources.ra + east) % 360.0, 7),
        "dec": np.round(obs.sources.dec + wobble * random.normal("dec error", *keys), 7),
    }  # fmt: skip


def candidates(
    random: KeyedRandom, obs: Observations, positive: Mask, seen: Measurement, near: Vicinity, record: CandidateRecord
) -> Columns:
    """All candidate columns of schema 4.02, one row an alert; `nbad` is left to whoever masks the stamps."""
    zero = zero_points(random, obs)
    count = len(obs)
    columns = placement(random, obs, positive) | brightness(obs, seen) | outline(random, obs, seen)
    columns |= reference_source(random, obs, near) | pan_starrs(random, obs, near) | gaia(random, obs, near)
    columns |= solar_system(random, obs) | real_bogus_scores(random, obs, seen.filtered_ratio)
    columns |= zero | calibrators(random, obs, zero["magzpsciunc"]) | reference_columns(obs)
    return columns | {
        "ndethist": record.detections, "ncovhist": record.covered,
        "jdstarthist": record.first_jd, "jdendhist": record.last_jd,
        "nbad": np.zeros(count, dtype=np.int64), "tooflag": np.zeros(count, dtype=np.int64),
        "rbversion": np.full(count, RB_VERSION), "drbversion": np.full(count, DRB_VERSION),
    }  # fmt: skip
