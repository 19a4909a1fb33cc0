from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.store.sequences import HistoryWindow, NewEntries, SequencePrefix, StoredSequence, entry_dtype
from tests.support.store_contract import LATENT, candids, entries_of
from tests.support.twins import MemoryStore


def held_of(*rows: tuple[int, float]) -> StoredSequence:
    """(candid, jd) each, as a store would give them back."""
    entries = entries_of(*(("a", candid, jd) for candid, jd in rows))
    dtype = entry_dtype(LATENT, "float32")
    names = [b"%d" % candid for candid, _ in rows]
    return StoredSequence.unpack(dict(zip(names, entries.packed(dtype), strict=True)), dtype)


# Packing


@pytest.mark.parametrize(("dtype", "size"), [("float32", 8 + 1 + 42 * 4), ("float16", 8 + 1 + 42 * 2)])
def test_an_entry_is_packed_without_padding(dtype: str, size: int) -> None:
    assert entry_dtype(42, dtype).itemsize == size


def test_an_entry_is_packed_little_endian_whatever_the_machine() -> None:
    entries = NewEntries(
        ["a"], np.array([1]), np.array([1.0]), np.array([3], np.uint8), np.array([[1.0, -2.0]], np.float32)
    )
    [packed] = entries.packed(entry_dtype(2, "float32"))
    assert packed == bytes.fromhex("000000000000f03f 03 0000803f 000000c0")


@given(st.lists(st.tuples(st.integers(0, 2**63 - 1), st.floats(0, 3e6)), unique_by=lambda row: row[0], max_size=20))
def test_what_is_held_comes_back_in_the_order_of_time_then_candid(rows: list[tuple[int, float]]) -> None:
    held = held_of(*rows)
    assert list(zip(held.jd.tolist(), held.candid.tolist(), strict=True)) == sorted((jd, one) for one, jd in rows)
    assert held.band.tolist() == [1 + one % 3 for one in held.candid.tolist()]


def test_a_value_of_another_size_is_refused_by_its_field() -> None:
    with pytest.raises(ValueError, match="field b'5' holds 3 bytes; an entry here has 17"):
        StoredSequence.unpack({b"5": b"abc"}, entry_dtype(LATENT, "float32"))


def test_a_field_that_is_no_candid_is_refused() -> None:
    with pytest.raises(ValueError, match="name"):
        StoredSequence.unpack({b"name": b"\0" * 17}, entry_dtype(LATENT, "float32"))


def test_rows_are_found_by_key_in_stream_order() -> None:
    assert entries_of(("a", 1, 1.0), ("b", 2, 1.0), ("a", 3, 1.0)).rows_by_key() == {"a": [0, 2], "b": [1]}


# Windows


def test_a_redelivered_alert_sees_what_was_held_but_nothing_later_than_itself() -> None:
    [history] = HistoryWindow().histories(held_of((1, 1.0), (2, 2.0), (3, 3.0)), [2], [False])
    assert candids(history) == [1, 2]
    assert not history.late


def test_a_history_never_holds_more_than_the_window() -> None:
    held = held_of(*((one, float(one)) for one in range(10)))
    histories = HistoryWindow(alerts=3).histories(held, range(10), [True] * 10)
    assert [len(one) for one in histories] == [1, 2, 3, 3, 3, 3, 3, 3, 3, 3]
    assert candids(histories[-1]) == [7, 8, 9]
    assert [one.truncated for one in histories] == [False] * 3 + [True] * 7


def test_an_alert_exactly_as_old_as_the_window_counts() -> None:
    held = held_of((1, 0.0), (2, 365.0), (3, 365.5))
    assert [candids(one) for one in HistoryWindow().histories(held, [2, 3], [True, True])] == [[1, 2], [2, 3]]


@dataclass(frozen=True)
class Seen:
    key: str
    candid: int
    jd: float


SKY = st.lists(
    st.builds(
        Seen, key=st.sampled_from("abc"), candid=st.integers(0, 999), jd=st.integers(0, 30).map(lambda tenth: tenth / 2)
    ),
    unique_by=lambda seen: seen.candid,
    max_size=25,
)


def naive(stream: Sequence[Seen], at: int, window: HistoryWindow) -> tuple[list[int], bool, bool]:
    """candids, truncated, late of alert `at`, by the words of architecture.md, decision 7."""
    one = stream[at]
    before = [other for other in stream[:at] if other.key == one.key]
    own = (one.jd, one.candid)
    past = sorted(place for other in [*before, one] if (place := (other.jd, other.candid)) <= own)
    recent = [candid for jd, candid in past if jd >= one.jd - window.days][-window.alerts :]
    return recent, len(recent) < len(past), len(past) < len(before) + 1


def told(history: SequencePrefix) -> tuple[list[int], bool, bool]:
    return candids(history), history.truncated, history.late


@given(SKY, st.lists(st.integers(1, 6)), st.floats(0.5, 20))
def test_histories_are_those_of_the_naive_reference_wherever_batches_end(
    stream: list[Seen], sizes: list[int], days: float
) -> None:
    store = MemoryStore(LATENT, history_days=days)
    found: list[SequencePrefix] = []
    while len(found) < len(stream):
        batch = stream[len(found) : len(found) + (sizes.pop() if sizes else 7)]
        found += store.remember(entries_of(*((one.key, one.candid, one.jd) for one in batch)), {})
    assert [told(one) for one in found] == [naive(stream, at, HistoryWindow(128, days)) for at in range(len(stream))]


@given(SKY, st.integers(1, 4))
def test_the_newest_of_a_history_are_those_of_the_naive_reference(stream: list[Seen], alerts: int) -> None:
    found = MemoryStore(LATENT, max_history=alerts).remember(
        entries_of(*((one.key, one.candid, one.jd) for one in stream)), {}
    )
    assert [told(one) for one in found] == [naive(stream, at, HistoryWindow(alerts)) for at in range(len(stream))]


@given(SKY, st.randoms(use_true_random=False))
def test_shuffled_and_doubled_streams_leave_the_same_sequences(stream: list[Seen], random: Random) -> None:
    doubled = [*stream, *stream]
    random.shuffle(doubled)
    left, right = MemoryStore(LATENT), MemoryStore(LATENT)
    for one in stream:
        left.remember(entries_of((one.key, one.candid, one.jd)), {})
    for at in range(0, len(doubled), 4):
        batch = {one.candid: one for one in doubled[at : at + 4]}.values()
        right.remember(entries_of(*((one.key, one.candid, one.jd) for one in batch)), {})
    assert left.data.sequences == right.data.sequences
