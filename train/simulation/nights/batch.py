"""A chunk of a night, from plan to packets and truth: where scene, photometry, history and schema meet."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from train.simulation.images.composition import neighbours
from train.simulation.images.observation import Observations, significance
from train.simulation.images.stamps import AlertStamps, draw_alert_stamps, generators
from train.simulation.nights import fault
from train.simulation.nights.fault import Emission
from train.simulation.nights.plan import NightPlan
from train.simulation.packets import catalogue, history
from train.simulation.packets.candidate import candidates
from train.simulation.packets.identity import identifiers, object_ids
from train.simulation.packets.packet import PUBLISHER, border_cut, container, field_names, pack_stamp
from train.simulation.packets.photometry import measure
from train.simulation.random import Columns, KeyedRandom
from train.simulation.sources.source import LABELS, SUBCLASSES

TRUTH_SCHEMA = pa.schema(
    [
        ("position", pa.int64()), ("candid", pa.int64()), ("objectId", pa.string()),
        ("class", pa.string()), ("subclass", pa.string()), ("faults", pa.string()),
        ("jd", pa.float64()), ("fid", pa.int32()), ("field", pa.int32()), ("rcid", pa.int32()),
        ("ra", pa.float64()), ("dec", pa.float64()),
        ("key", pa.int64()), ("cycle", pa.int64()),
        ("difference_flux", pa.float64()), ("signal_to_noise", pa.float64()),
        ("mean_g", pa.float64()), ("mean_r", pa.float64()),
        ("period", pa.float64()), ("amplitude", pa.float64()), ("epoch", pa.float64()), ("width", pa.float64()),
        ("redshift", pa.float64()),
        ("host_g", pa.float64()), ("host_r", pa.float64()), ("host_radius", pa.float64()), ("host_index", pa.float64()),
        ("host_dx", pa.float64()), ("host_dy", pa.float64()),
        ("seeing", pa.float64()), ("zero_point", pa.float64()), ("sky", pa.float64()), ("ssnamenr", pa.string()),
        ("nan_pixels", pa.int32()), ("packet_bytes", pa.int32()),
    ]
)  # fmt: skip


def _class_names(obs: Observations) -> Columns:
    names = [LABELS[code] for code in obs.sources.label]
    kinds = [SUBCLASSES[name][code] for name, code in zip(names, obs.sources.subclass, strict=True)]
    return {"class": np.array(names), "subclass": np.array(kinds)}


def truth_columns(obs: Observations) -> Columns:
    """What is true of each observation, whatever its packet says: fluxes in DN of its exposure, lengths in pixels.

    `Sources` says what period, amplitude, epoch and width mean in each class.
    """
    source, exposure = obs.sources, obs.exposures
    base = identifiers(obs)
    own = ("mean_g", "mean_r", "period", "amplitude", "epoch", "width", "redshift", "ra", "dec", "key", "cycle")
    host = ("host_g", "host_r", "host_radius", "host_index", "host_dx", "host_dy")
    return _class_names(obs) | {name: base[name] for name in ("jd", "fid", "field", "rcid")} | {
        name: getattr(source, name) for name in own + host
    } | {
        "difference_flux": (obs.flux - obs.reference_flux) * obs.scale,
        "signal_to_noise": significance(obs),
        "seeing": exposure.seeing, "zero_point": exposure.zero_point, "sky": exposure.sky,
    }  # fmt: skip


def truth_table(rows: Columns) -> pa.Table:
    """The columns as a table of `SCHEMA`."""
    return pa.table(
        {name: pa.array(rows[name].tolist(), type=TRUTH_SCHEMA.field(name).type) for name in TRUTH_SCHEMA.names},
        schema=TRUTH_SCHEMA,
    )


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


def _past(random: KeyedRandom, past: history.AlertHistory, near: Columns, version: str) -> tuple[Rows, Rows]:
    """Rows of `prv_candidates` and of `fp_hists`."""
    names = field_names(version, "prv_candidates")
    earlier = _rows(history.limits(random, past), names)
    measured = history.detections(random, past, near)
    found = _rows(measured, tuple(name for name in names if name in measured))
    for place, values in zip(np.flatnonzero(past.detected), found, strict=True):
        earlier[place] |= values
    names = field_names(version, "fp_hists")
    return earlier, _rows(history.forced(random, past, near), names) if names else []


def _grouped(rows: Rows, past: history.AlertHistory, count: int) -> list[Rows]:
    starts = np.searchsorted(past.row, np.arange(count + 1))
    return [rows[start:stop] for start, stop in pairwise(starts)]


def _cutouts(drawn: AlertStamps, alerts: Rows) -> Rows:
    """The three stamps of each alert, masked and cut by the border."""
    out = []
    images = drawn.frames.science, drawn.frames.template, drawn.frames.difference
    for row, fields in enumerate(alerts):
        cut = border_cut(fields["xpos"], fields["ypos"])
        stem = f"candid{fields['candid']}"
        sense = "scimref" if fields["isdiffpos"] == "t" else "refmsci"
        science = f"{stem}_pid{fields['pid']}_targ"
        names = (f"{science}_sci.fits.gz", f"{stem}_ref.fits.gz", f"{science}_{sense}.fits.gz")
        packed = [pack_stamp(np.where(drawn.masks[row], np.nan, image[row])[cut]) for image in images]
        keys = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
        out.append({k: {"fileName": n, "stampData": p} for k, n, p in zip(keys, names, packed, strict=True)})
    return out


def _records(random: KeyedRandom, plan: NightPlan, drawn: AlertStamps, version: str) -> Rows:
    """The alerts as Avro records."""
    obs = drawn.obs
    past = history.earlier(random, plan, obs.sources)
    near = catalogue.vicinity(random, obs, neighbours(random, obs.sources))
    seen = measure(drawn.frames.difference, obs)
    known = history.record(random, plan, obs.sources, past)
    columns = candidates(random, obs, drawn.positive, seen, near, known)
    columns["nbad"] = drawn.masks[:, 29:34, 29:34].sum(axis=(1, 2))
    alerts = _rows(columns, field_names(version, "candidate"))
    earlier, forced = (_grouped(rows, past, len(plan)) for rows in _past(random, past, columns, version))
    cutouts, names = _cutouts(drawn, alerts), object_ids(obs.sources)
    head = {"schemavsn": version, "publisher": PUBLISHER}
    return [
        head | {"objectId": names[i], "candid": fields["candid"], "candidate": fields,
                "prv_candidates": earlier[i] or None, "fp_hists": forced[i] or None} | cutouts[i]
        for i, fields in enumerate(alerts)
    ]  # fmt: skip


def _payload(record: dict[str, Any], version: str, rng: np.random.Generator, faults: set[str]) -> bytes:
    if "no_template" in faults:
        record = record | {"cutoutTemplate": None}
    payload = container(record, version)
    return fault.corrupt_packet(payload, rng) if "corrupt" in faults else payload


def build_packets(seed: int, plan: NightPlan, part: Emission, version: str) -> tuple[list[Packet], Columns]:
    """The packets of a chunk and its truth columns; `plan` has one row for each packet of `part`.

    Raises ValueError for a schema version that is not written here.
    """
    random, noise = KeyedRandom(seed), generators(seed, plan)
    drawn = draw_alert_stamps(random, plan, noise, faults=part.faults)
    records = _records(random, plan, drawn, version)
    described = part.described()
    payloads = [
        _payload(record, version, rng, set(faults.split(",")))
        for record, rng, faults in zip(records, noise, described, strict=True)
    ]
    rows = truth_columns(drawn.obs) | {
        "candid": np.array([record["candid"] for record in records], dtype=np.int64),
        "objectId": np.array([record["objectId"] for record in records]),
        "ssnamenr": np.array([record["candidate"]["ssnamenr"] for record in records]),
        "faults": np.array(described),
        "nan_pixels": drawn.masks.sum(axis=(1, 2)),
        "packet_bytes": np.array([len(payload) for payload in payloads]),
    }
    packets = [Packet(record["candid"], payload) for record, payload in zip(records, payloads, strict=True)]
    return packets, rows
