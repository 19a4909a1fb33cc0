"""What a scenario left, against an undisturbed run: lost, wrong, repeated, and whether the state is the same."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from consumer.cli.runtime import load_inference
from consumer.configuration.settings import ModelSettings
from consumer.embedded import local_store
from consumer.inference.models import Inference
from consumer.store.sequences import SequencePrefix, StoredSequence, entry_dtype
from tests.chaos.ground import Ground
from tests.chaos.night import Sent, by_partition
from tests.support.line import classifications, environment, estampa_here, state, write_tar

State = dict[bytes, dict[bytes, bytes]]


@dataclass(frozen=True)
class Undisturbed:
    """The same night, replayed from a file with no fault. alone: candid → its own class probabilities."""

    state: State
    alone: Mapping[int, Mapping[str, float]]
    inference: Inference


def undisturbed(night: Sequence[Sent], checkpoint: Path, folder: Path) -> Undisturbed:
    archive, out = write_tar(folder / "night.tar", [one.payload for one in night]), folder / "undisturbed.jsonl"
    with local_store() as url:
        env = environment(checkpoint, store__url=url, limits__dead_letter_ratio="1")
        done = estampa_here(env, "replay", str(archive), "--out", str(out))
        assert done.returncode == 0, done.stderr
        kept = state(url)
    records = map(json.loads, out.read_text().splitlines())
    alone = {record["candid"]: record["alert_probabilities"] for record in records}
    return Undisturbed(kept, alone, load_inference(ModelSettings(checkpoint=str(checkpoint), threads=1)))


@dataclass(frozen=True)
class Verdict:
    """In alerts. lost: neither classified nor a dead letter. wrong: an answer that no undisturbed run could give.

    repeated: records beyond the first of their (candid, model id), and letters beyond the first of their place.
    state: whether the store is the same, byte for byte. struck_at: messages committed after each fault: fewer than
    there are, or it came too late.
    """

    scenario: str
    faults: int
    alerts: int
    classified: int
    dead_letters: int
    lost: int
    wrong: int
    repeated: int
    state: bool
    struck_at: list[int]
    recovery_s: list[float]
    exits: list[str]

    @property
    def good(self) -> bool:
        return not self.lost and not self.wrong and self.state

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge(scenario: str, ground: Ground, reference: Undisturbed) -> Verdict:
    """Read what is in the topics and the store. The night must be drained and the members gone."""
    records = classifications(ground.published("output"))
    letters = Counter(_place(one.headers()) for one in ground.published("dead"))
    told = Counter((record["candid"], record["model_id"]) for record in records)
    candids, bad = _expected(ground.night)
    lost = len(candids - {candid for candid, _ in told}) + len(bad - set(letters))
    strange = len({candid for candid, _ in told} - candids) + len(set(letters) - bad)
    return Verdict(
        scenario=scenario,
        faults=ground.faults,
        alerts=len(ground.night),
        classified=len(told),
        dead_letters=len(letters),
        lost=lost,
        wrong=strange + sum(1 for _ in wrong(records, ground.night, reference)),
        repeated=told.total() - len(told) + letters.total() - len(letters),
        state=ground.state() == reference.state,
        struck_at=ground.struck_at,
        recovery_s=ground.recovery_s,
        exits=sorted(set(ground.exits)),
    )


def _place(headers: Any) -> tuple[int, int]:
    facts = {name: value.decode() for name, value in headers}
    return int(facts["estampa.partition"]), int(facts["estampa.position"])


def _expected(night: Sequence[Sent]) -> tuple[set[int], set[tuple[int, int]]]:
    """The candids to be classified, and the places to be dead-lettered."""
    candids = {one.packet.candid for one in night if one.packet}
    places = ((part, offset, one) for part, sent in by_partition(night).items() for offset, one in enumerate(sent))
    return candids, {(part, offset) for part, offset, one in places if one.packet is None}


def wrong(records: Sequence[Mapping[str, Any]], night: Sequence[Sent], reference: Undisturbed) -> Iterator[int]:
    """Candids whose own probabilities differ from the undisturbed run's, or whose sequence's no history explains."""
    possible = Possible(night, reference)
    answers = reference.inference.classify([history for record in records for history in possible.of(record["candid"])])
    at = 0
    for record in records:
        count = len(possible.of(record["candid"]))
        given = np.array(list(record["sequence_probabilities"].values()), np.float32)
        alone = dict(record["alert_probabilities"]) == dict(reference.alone.get(record["candid"], {}))
        if not alone or not any(np.array_equal(given, one) for one in answers[at : at + count]):
            yield record["candid"]
        at += count


class Possible:
    """The histories that an alert can have been judged on.

    An object's alerts come in one partition, so what is visible when one is judged is a beginning of that stream that
    holds it: up to itself the first time, further when it is seen again. Of it counts what is not later in
    (jd, candid).
    """

    def __init__(self, night: Sequence[Sent], reference: Undisturbed) -> None:
        self._stream: dict[str, list[int]] = defaultdict(list)
        self._object: dict[int, str] = {}
        for one in night:
            if one.packet and one.packet.candid not in self._object:
                self._stream[one.packet.object_id].append(one.packet.candid)
                self._object[one.packet.candid] = one.packet.object_id
        self._held = self._unpacked(reference)
        self._known: dict[int, list[SequencePrefix]] = {}

    def of(self, candid: int) -> list[SequencePrefix]:
        if candid not in self._known:
            self._known[candid] = list(self._histories(candid)) if candid in self._object else []
        return self._known[candid]

    def _histories(self, candid: int) -> Iterator[SequencePrefix]:
        stream, held = self._stream[self._object[candid]], self._held[self._object[candid]]
        row = held.candid.tolist().index(candid)
        seen = set[tuple[int, ...]]()
        for end in range(stream.index(candid) + 1, len(stream) + 1):
            rows = tuple(np.flatnonzero(np.isin(held.candid[: row + 1], stream[:end])).tolist())
            if rows not in seen:
                seen.add(rows)
                at = list(rows)
                yield SequencePrefix(held.latents[at], held.jd[at], held.band[at], truncated=False, late=False)

    def _unpacked(self, reference: Undisturbed) -> dict[str, StoredSequence]:
        dtype = entry_dtype(reference.inference.checkpoint.encoder_config.latent, "float32")
        return {
            key.decode().rpartition(":")[2]: StoredSequence.unpack(fields, dtype)
            for key, fields in reference.state.items()
        }
