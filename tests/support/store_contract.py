"""What every store promises, as functions: run them on each.

    @pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.__name__)
    def test_the_store_keeps_its_contract(fact: Fact, ...) -> None:
        fact(make_store)

`make_store(**options)` opens a store on the same, at first empty, data each time. Options: `max_history`,
`history_days`, `dtype`. Latents are of length 2.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from consumer.errors import StoreError
from consumer.store.sequences import NewEntries, SequencePrefix

MakeStore = Callable[..., Any]
Fact = Callable[[MakeStore], None]
Row = tuple[str, int, float]
LATENT = 2
HERE = ("topic", 0)


def entries_of(*rows: Row, value: float = 0.5) -> NewEntries:
    """(key, candid, jd) each; latents are (candid, value)."""
    return NewEntries(
        keys=[key for key, _, _ in rows],
        candid=np.array([candid for _, candid, _ in rows], np.int64),
        jd=np.array([jd for _, _, jd in rows], np.float64),
        band=np.array([1 + candid % 3 for _, candid, _ in rows], np.uint8),
        latents=np.array([(candid, value) for _, candid, _ in rows], np.float32).reshape(-1, LATENT),
    )


def candids(history: SequencePrefix) -> list[int]:
    return [int(latent[0]) for latent in history.latents]


def an_empty_batch_gives_no_history(make: MakeStore) -> None:
    assert make().remember(entries_of(), {}) == []


def a_first_alert_is_judged_on_itself(make: MakeStore) -> None:
    [history] = make().remember(entries_of(("a", 7, 10.25)), {})
    assert candids(history) == [7]
    assert (history.jd.tolist(), history.band.tolist()) == ([10.25], [2])
    assert (history.truncated, history.late) == (False, False)


def histories_come_in_the_order_of_the_entries(make: MakeStore) -> None:
    found = make().remember(entries_of(("a", 1, 1.0), ("b", 2, 1.0), ("a", 3, 2.0), ("c", 4, 1.0), ("b", 5, 2.0)), {})
    assert [candids(one) for one in found] == [[1], [2], [1, 3], [4], [2, 5]]


def an_object_is_remembered_by_the_next_store_that_opens_the_data(make: MakeStore) -> None:
    make().remember(entries_of(("a", 1, 1.0)), {})
    [history] = make().remember(entries_of(("a", 2, 2.0)), {})
    assert candids(history) == [1, 2]


def the_first_latent_of_a_candid_stays(make: MakeStore) -> None:
    store = make()
    store.remember(entries_of(("a", 1, 1.0), value=0.5), {})
    [history] = store.remember(entries_of(("a", 1, 1.0), value=0.25), {})
    assert history.latents.tolist() == [[1, 0.5]]
    assert store.sequence("a").latents.tolist() == [[1, 0.5]]


def the_order_of_arrival_leaves_the_same_sequence(make: MakeStore) -> None:
    rows = [(1, 3.0), (2, 1.0), (3, 2.0), (4, 2.0)]
    for key, order in (("a", rows), ("b", rows[::-1])):
        for candid, jd in order:
            make().remember(entries_of((key, candid, jd)), {})
    one, other = make().sequence("a"), make().sequence("b")
    assert one.candid.tolist() == other.candid.tolist() == [2, 3, 4, 1]
    assert one.latents.tobytes() == other.latents.tobytes()


def an_alert_is_not_judged_on_what_came_after_it_in_time_or_in_the_stream(make: MakeStore) -> None:
    found = make().remember(entries_of(("a", 1, 5.0), ("a", 2, 9.0), ("a", 3, 7.0)), {})
    assert [candids(one) for one in found] == [[1], [1, 2], [1, 3]]
    assert [one.late for one in found] == [False, False, True]


def alerts_of_one_time_stand_in_the_order_of_their_candids(make: MakeStore) -> None:
    found = make().remember(entries_of(("a", 9, 5.0), ("a", 4, 5.0)), {})
    assert [candids(one) for one in found] == [[9], [4]]
    assert make().sequence("a").candid.tolist() == [4, 9]


def an_unknown_object_has_an_empty_sequence(make: MakeStore) -> None:
    assert make().sequence("nobody").candid.tolist() == []


def a_candid_of_63_bits_comes_back_whole(make: MakeStore) -> None:
    candid = 2**63 - 1
    make().remember(entries_of(("a", candid, 1.0)), {})
    assert make().sequence("a").candid.tolist() == [candid]


def a_julian_date_comes_back_to_the_last_bit(make: MakeStore) -> None:
    jd = 2461000.123456789
    make().remember(entries_of(("a", 1, jd)), {})
    assert make().sequence("a").jd.tolist() == [jd]


def a_history_is_of_the_newest_and_says_when_older_ones_were_left_out(make: MakeStore) -> None:
    found = make(max_history=2).remember(entries_of(("a", 1, 1.0), ("a", 2, 2.0), ("a", 3, 3.0)), {})
    assert [candids(one) for one in found] == [[1], [1, 2], [2, 3]]
    assert [one.truncated for one in found] == [False, False, True]


def alerts_older_than_the_window_do_not_count(make: MakeStore) -> None:
    found = make(history_days=10.0).remember(entries_of(("a", 1, 1.0), ("a", 2, 11.0), ("a", 3, 11.5)), {})
    assert [candids(one) for one in found] == [[1], [1, 2], [2, 3]]
    assert [one.truncated for one in found] == [False, False, True]


def what_is_past_the_bound_goes_at_the_next_visit(make: MakeStore) -> None:
    store = make(max_history=2)
    store.remember(entries_of(*(("a", candid, float(candid)) for candid in range(1, 6))), {})
    store.remember(entries_of(("b", 9, 9.0)), {})
    assert store.sequence("a").candid.tolist() == [1, 2, 3, 4, 5]
    store.remember(entries_of(("a", 6, 6.0)), {})
    assert store.sequence("a").candid.tolist() == [4, 5, 6]


def a_store_of_float16_gives_float32_back(make: MakeStore) -> None:
    [history] = make(dtype="float16").remember(entries_of(("a", 1, 1.0), value=0.1), {})
    assert history.latents.dtype == np.float32
    assert history.latents[0, 1] == np.float32(np.float16(0.1))


def offsets_are_kept_with_the_entries(make: MakeStore) -> None:
    make().remember(entries_of(("a", 1, 1.0)), {HERE: 5, ("other:topic", 3): 8})
    assert (make().applied(HERE), make().applied(("other:topic", 3))) == (5, 8)
    assert make().applied(("topic", 1)) is None


def a_batch_without_alerts_still_moves_the_offsets(make: MakeStore) -> None:
    make().remember(entries_of(), {HERE: 5})
    assert make().applied(HERE) == 5


def an_offset_never_goes_back(make: MakeStore) -> None:
    make().remember(entries_of(), {HERE: 9})
    make().remember(entries_of(), {HERE: 4})
    assert make().applied(HERE) == 9


def a_group_that_has_not_begun_has_no_start(make: MakeStore) -> None:
    assert make().start() is None


def a_group_may_begin_with_no_partition(make: MakeStore) -> None:
    make().begin({})
    assert make().start() == {}


def the_first_to_name_a_partition_decides_where_the_group_begins(make: MakeStore) -> None:
    make().begin({HERE: 3, ("with:colon", 12): 4})
    make().begin({HERE: 7, ("topic", 1): 5})
    assert make().start() == {HERE: 3, ("with:colon", 12): 4, ("topic", 1): 5}


FACTS: list[Fact] = [
    an_empty_batch_gives_no_history,
    a_first_alert_is_judged_on_itself,
    histories_come_in_the_order_of_the_entries,
    an_object_is_remembered_by_the_next_store_that_opens_the_data,
    the_first_latent_of_a_candid_stays,
    the_order_of_arrival_leaves_the_same_sequence,
    an_alert_is_not_judged_on_what_came_after_it_in_time_or_in_the_stream,
    alerts_of_one_time_stand_in_the_order_of_their_candids,
    an_unknown_object_has_an_empty_sequence,
    a_candid_of_63_bits_comes_back_whole,
    a_julian_date_comes_back_to_the_last_bit,
    a_history_is_of_the_newest_and_says_when_older_ones_were_left_out,
    alerts_older_than_the_window_do_not_count,
    what_is_past_the_bound_goes_at_the_next_visit,
    a_store_of_float16_gives_float32_back,
    offsets_are_kept_with_the_entries,
    a_batch_without_alerts_still_moves_the_offsets,
    an_offset_never_goes_back,
    a_group_that_has_not_begun_has_no_start,
    a_group_may_begin_with_no_partition,
    the_first_to_name_a_partition_decides_where_the_group_begins,
]


def check_that_a_loss_is_noticed(make: MakeStore, lose: Callable[[], None]) -> None:
    """Beside FACTS, where the data can be taken away: `lose` empties it under an open store."""
    store = make()
    store.remember(entries_of(("a", 1, 1.0)), {HERE: 5})
    lose()
    with pytest.raises(StoreError, match="lost writes"):
        store.remember(entries_of(("a", 2, 2.0)), {HERE: 6})
