"""Columns that belong to the exposure and not to the source: zero points, colour terms, file names, identifiers."""

import numpy as np

from train.simulation.arrays import Columns, Floats, Ints
from train.simulation.images.observation import Shots
from train.simulation.packets.identity import processing_ids
from train.simulation.random import Dice
from train.simulation.sources.cadence import NIGHT_ZERO_JD
from train.simulation.survey import fields

RB_VERSION, DRB_VERSION = "t17_f5_c3", "d6_m7"
PUBLIC_INVESTIGATOR = "Kulkarni"
EXPOSURE_SECONDS = 30.0
COLOUR_TERM = (-0.06, 0.09)


def identifiers(shots: Shots) -> Columns:
    """pid, nid, rcid, field, fid, jd and the program, of each shot's exposure."""
    e, source = shots.exposures, shots.sources
    return {
        "jd": np.round(e.jd, 7), "fid": e.band, "pid": processing_ids(e.jd, source.channel),
        "programpi": np.full(len(shots), PUBLIC_INVESTIGATOR), "programid": np.ones(len(shots), dtype=np.int64),
        "nid": e.night, "rcid": source.channel, "field": fields().number[source.field],
    }  # fmt: skip


def zero_points(dice: Dice, shots: Shots) -> Columns:
    """Photometric calibration of the science image, as carried by detections, limits and forced photometry alike."""
    e = shots.exposures
    keys = (e.field, e.night, e.band, shots.sources.channel)
    clouded = np.clip(26.2 - e.zero_point, 0.0, 3.0)
    unc = 8e-6 * np.exp(0.5 * dice.normal("zero point error", *keys) + 0.8 * clouded)
    term = np.take(COLOUR_TERM, e.band - 1) + 0.022 * dice.normal("colour term", *keys)
    scatter = 0.036 * np.exp(0.25 * dice.normal("calibration scatter", *keys) + 0.25 * clouded)
    return {
        "magzpsci": e.zero_point, "magzpsciunc": unc, "magzpscirms": scatter,
        "clrcoeff": term, "clrcounc": 1.6 * unc, "exptime": np.full(len(shots), EXPOSURE_SECONDS),
    }  # fmt: skip


def calibrators(dice: Dice, shots: Shots, unc: Floats) -> Columns:
    """The Pan-STARRS 1 stars behind the calibration."""
    e, crowd = shots.exposures, shots.sources.crowd
    keys = (e.field, e.night, e.band, shots.sources.channel)
    clouded = np.clip(26.2 - e.zero_point, 0.0, 3.0)
    matches = 330.0 * (crowd / 0.0018) ** 0.8 * np.exp(0.3 * dice.normal("calibrators", *keys) - 0.7 * clouded)
    return {
        "nmatches": np.clip(matches, 30, 2000).astype(np.int64),
        "zpclrcov": -1.3 * unc, "zpmed": np.round(e.zero_point - 0.04 * dice.normal("zpmed", *keys), 3),
        "clrmed": np.round(0.62 + 0.09 * dice.normal("clrmed", *keys), 3),
        "clrrms": np.round(0.24 + 0.03 * dice.normal("clrrms", *keys), 6),
    }  # fmt: skip


def file_stems(columns: Columns) -> list[str]:
    """`ztf_YYYYMMDDffffff_field_filter_cCC_o_qQ_scimrefdiffimg.fits` of each exposure."""
    jd, channel = columns["jd"], columns["rcid"]
    day = np.floor(jd - 2440587.5).astype("datetime64[D]").astype(str)
    fraction = np.floor((jd - NIGHT_ZERO_JD) % 1.0 * 1e6 + 1e-3).astype(np.int64)
    rows = zip(day, fraction, columns["field"], columns["fid"], channel // 4 + 1, channel % 4 + 1, strict=True)
    return [
        f"ztf_{d.replace('-', '')}{f:06d}_{field:06d}_z{'gri'[band - 1]}_c{ccd:02d}_o_q{q}_scimrefdiffimg.fits"
        for d, f, field, band, ccd, q in rows
    ]


def archive_paths(stems: list[str]) -> list[str]:
    """Where the survey's archive keeps the difference images of earlier exposures."""
    return [f"/ztf/archive/sci/{s[4:8]}/{s[8:12]}/{s[12:18]}/{s}.fz" for s in stems]


def edge_distance(column: Floats, row: Floats) -> Floats:
    """Pixels to the closest border of the 3072 × 3080 quadrant, for places counted from 1."""
    result: Floats = np.minimum(np.minimum(column, 3072.5 - column), np.minimum(row, 3080.5 - row))
    return result


def reference_columns(shots: Shots) -> Columns:
    """The reference image: number, first and last exposure, frames."""
    r = shots.references
    columns: dict[str, Ints | Floats] = {
        "rfid": r.number, "jdstartref": r.first_jd, "jdendref": r.last_jd, "nframesref": r.frames,
    }  # fmt: skip
    return columns
