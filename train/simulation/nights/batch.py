"""A chunk of a night, from plan to packets: the only place where scene, photometry, history and schema meet."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from train.simulation.arrays import Columns
from train.simulation.images.neighbourhood import neighbours
from train.simulation.images.stamps import Sighting, generators, sight
from train.simulation.nights import fault, truth
from train.simulation.nights.fault import Emission
from train.simulation.nights.plan import NightPlan
from train.simulation.packets import candidate, catalogue, history, packet, stamp
from train.simulation.packets.identity import object_ids
from train.simulation.packets.photometry import measure
from train.simulation.random import Dice

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Packet:
    """An alert on its way: its candid and its bytes."""

    candid: int
    payload: bytes


def _rows(columns: Columns, names: tuple[str, ...]) -> Rows:
    """Dictionaries of Python values, one a row; a name without a column is None."""
    length = len(next(iter(columns.values())))
    lists = [columns[name].tolist() if name in columns else [None] * length for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True)]


def _past(dice: Dice, past: history.AlertHistory, near: Columns, version: str) -> tuple[Rows, Rows]:
    """Rows of `prv_candidates` and of `fp_hists`."""
    names = packet.field_names(version, "prv_candidates")
    earlier = _rows(history.limits(dice, past), names)
    measured = history.detections(dice, past, near)
    found = _rows(measured, tuple(name for name in names if name in measured))
    for place, values in zip(np.flatnonzero(past.detected), found, strict=True):
        earlier[place] |= values
    names = packet.field_names(version, "fp_hists")
    return earlier, _rows(history.forced(dice, past, near), names) if names else []


def _grouped(rows: Rows, past: history.AlertHistory, count: int) -> list[Rows]:
    starts = np.searchsorted(past.row, np.arange(count + 1))
    return [rows[start:stop] for start, stop in pairwise(starts)]


def _cutouts(drawn: Sighting, candidates: Rows) -> Rows:
    """The three stamps of each alert, masked and cut by the border."""
    out = []
    images = drawn.frames.science, drawn.frames.template, drawn.frames.difference
    for row, fields in enumerate(candidates):
        cut = stamp.border_cut(fields["xpos"], fields["ypos"])
        stem = f"candid{fields['candid']}"
        sense = "scimref" if fields["isdiffpos"] == "t" else "refmsci"
        science = f"{stem}_pid{fields['pid']}_targ"
        names = (f"{science}_sci.fits.gz", f"{stem}_ref.fits.gz", f"{science}_{sense}.fits.gz")
        packed = [stamp.pack(np.where(drawn.masks[row], np.nan, image[row])[cut]) for image in images]
        keys = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
        out.append({k: {"fileName": n, "stampData": p} for k, n, p in zip(keys, names, packed, strict=True)})
    return out


def _records(dice: Dice, plan: NightPlan, drawn: Sighting, version: str) -> Rows:
    """The alerts as Avro records."""
    shots = drawn.shots
    past = history.earlier(dice, plan, shots.sources)
    near = catalogue.vicinity(dice, shots, neighbours(dice, shots.sources))
    seen = measure(drawn.frames.difference, shots)
    known = history.record(dice, plan, shots.sources, past)
    columns = candidate.candidates(dice, shots, drawn.positive, seen, near, known)
    columns["nbad"] = drawn.masks[:, 29:34, 29:34].sum(axis=(1, 2))
    candidates = _rows(columns, packet.field_names(version, "candidate"))
    earlier, forced = (_grouped(rows, past, len(plan)) for rows in _past(dice, past, columns, version))
    cutouts, names = _cutouts(drawn, candidates), object_ids(shots.sources)
    head = {"schemavsn": version, "publisher": packet.PUBLISHER}
    return [
        head | {"objectId": names[i], "candid": fields["candid"], "candidate": fields,
                "prv_candidates": earlier[i] or None, "fp_hists": forced[i] or None} | cutouts[i]
        for i, fields in enumerate(candidates)
    ]  # fmt: skip


def _payload(record: dict[str, Any], version: str, rng: np.random.Generator, faults: set[str]) -> bytes:
    if "no_template" in faults:
        record = record | {"cutoutTemplate": None}
    payload = packet.container(record, version)
    return fault.corrupt(payload, rng) if "corrupt" in faults else payload


def build(seed: int, plan: NightPlan, part: Emission, version: str) -> tuple[list[Packet], Columns]:
    """The packets of a chunk and its truth columns; `plan` has one row for each packet of `part`.

    Raises ValueError for a schema version that is not written here.
    """
    dice, noise = Dice(seed), generators(seed, plan)
    drawn = sight(dice, plan, noise, faults=part.faults)
    records = _records(dice, plan, drawn, version)
    described = part.described()
    payloads = [
        _payload(record, version, rng, set(faults.split(",")))
        for record, rng, faults in zip(records, noise, described, strict=True)
    ]
    rows = truth.columns(drawn.shots) | {
        "candid": np.array([record["candid"] for record in records], dtype=np.int64),
        "objectId": np.array([record["objectId"] for record in records]),
        "ssnamenr": np.array([record["candidate"]["ssnamenr"] for record in records]),
        "faults": np.array(described),
        "nan_pixels": drawn.masks.sum(axis=(1, 2)),
        "packet_bytes": np.array([len(payload) for payload in payloads]),
    }
    packets = [Packet(record["candid"], payload) for record, payload in zip(records, payloads, strict=True)]
    return packets, rows
