"""Columns of metadata: fields of a packet's candidate → numbers that a head takes. Training and serving call this.

A field is `SENTINELS` or not finite where ZTF has nothing to say, and absent where a schema lacks it: all are missing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

SENTINELS: Final = (-999.0, -99999.0)

MEASURED: Final = frozenset({
    "diffmaglim", "magpsf", "sigmapsf", "chipsf", "magap", "sigmagap", "distnr", "magnr", "sigmagnr", "chinr",
    "sharpnr", "sky", "magdiff", "fwhm", "classtar", "mindtoedge", "magfromlim", "seeratio", "aimage", "bimage",
    "aimagerat", "bimagerat", "elong", "nneg", "nbad", "sumrat", "magapbig", "sigmagapbig", "scorr", "sgmag1",
    "srmag1", "simag1", "szmag1", "sgscore1", "distpsnr1", "ndethist", "ncovhist",
})  # fmt: skip
"""Fields that are columns as they are. All schema versions have them, so that none tells a packet's year.

Left out, since they give a label away or a catalogue's own habits: scores (rb, drb and other networks'), known bodies
(ssdistnr, ssmagnr, ssnamenr), identifiers, dates, places on sky and detector, and the reference image's history.
"""

Values = NDArray[np.float64]


def _tilt(longitude: float, latitude: float) -> Callable[[Values, Values], Values]:
    """Latitude, degrees, above the great circle whose pole is at the given right ascension and declination."""
    pole = np.radians(latitude)

    def latitude_of(ra: Values, dec: Values) -> Values:
        away, height = np.radians(ra - longitude), np.radians(dec)
        sine = np.sin(height) * np.sin(pole) + np.cos(height) * np.cos(pole) * np.cos(away)
        degrees: Values = np.degrees(np.arcsin(np.clip(sine, -1, 1)))
        return degrees

    return latitude_of


DERIVED: Final[Mapping[str, tuple[tuple[str, ...], Callable[..., Values]]]] = {
    "age": (("jd", "jdstarthist"), np.subtract),
    "idle": (("jd", "jdendhist"), np.subtract),
    "non_detections": (("ncovhist", "ndethist"), np.subtract),
    "detected_share": (("ndethist", "ncovhist"), lambda seen, covered: seen / np.maximum(covered, 1)),
    "g_r": (("sgmag1", "srmag1"), np.subtract),
    "r_i": (("srmag1", "simag1"), np.subtract),
    "i_z": (("simag1", "szmag1"), np.subtract),
    "above_reference": (("magpsf", "magnr"), np.subtract),
    "above_neighbour": (("magpsf", "srmag1"), np.subtract),
    "below_limit": (("diffmaglim", "magpsf"), np.subtract),
    "gal_lat": (("ra", "dec"), _tilt(192.85948, 27.12825)),
    "ecl_lat": (("ra", "dec"), _tilt(270.0, 66.5607089)),
}
"""Columns made of several fields: their names and what is done. age, idle: days since the first and last detection
in the survey's record. g_r, r_i, i_z: colours of the nearest PS1 source. Latitudes: of J2000's poles, degrees."""

COLUMNS: Final = (*sorted(MEASURED), *DERIVED)
FIELDS: Final = MEASURED | {field for fields, _ in DERIVED.values() for field in fields} - {"jd"}
"""What is read for metadata alone: a schema may lack any of it."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a head. Its values follow the line that joins (knots, levels), flat outside; a missing one is 0.

    knots: values in rising order. levels: what the head sees there.
    """

    name: str
    knots: tuple[float, ...]
    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.name not in COLUMNS:
            raise ValueError(f"metadata column {self.name!r} is none that a head may see: {', '.join(COLUMNS)}")
        if not self.knots or len(self.knots) != len(self.levels) or (np.diff(self.knots) <= 0).any():
            raise ValueError(f"metadata column {self.name!r} needs rising knots and a level for each")
        if not np.isfinite(self.knots).all() or not np.isfinite(self.levels).all():
            raise ValueError(f"metadata column {self.name!r} has a knot or a level that is not finite")

    @property
    def fields(self) -> tuple[str, ...]:
        return DERIVED[self.name][0] if self.name in DERIVED else (self.name,)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        return cls(values["name"], tuple(values["knots"]), tuple(values["levels"]))


def metadata_fields(names: Iterable[str]) -> tuple[str, ...]:
    """The fields of a candidate that the named columns are made of, in the order in which values are given."""
    needed = (DERIVED[name][0] if name in DERIVED else (name,) for name in names)
    return tuple(sorted({field for fields in needed for field in fields}))


def column_values(values: Values, names: Sequence[str]) -> Values:
    """Values (N, F) of `metadata_fields(names)` → columns (N, M) float64 as they are named, NaN where missing."""
    known = np.where(np.isfinite(values) & ~np.isin(values, SENTINELS), values, np.nan)
    of_field = dict(zip(metadata_fields(names), known.T, strict=True))
    return np.stack([_column(name, of_field) for name in names], axis=1)


def metadata_input(values: Values, columns: Sequence[Column]) -> NDArray[np.float32]:
    """Values (N, F) of the columns' `metadata_fields` → (N, 2M) float32: their levels, and whether they are missing."""
    raw = column_values(values, [column.name for column in columns])
    missing = np.isnan(raw)
    levels = [np.interp(part, column.knots, column.levels) for part, column in zip(raw.T, columns, strict=True)]
    return np.concatenate([np.where(missing, 0, np.stack(levels, axis=1)), missing], axis=1).astype(np.float32)


def _column(name: str, of_field: Mapping[str, Values]) -> Values:
    if name not in DERIVED:
        return of_field[name]
    fields, made = DERIVED[name]
    return made(*(of_field[field] for field in fields))
