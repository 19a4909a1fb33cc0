from hypothesis import given
from hypothesis import strategies as st

from consumer.pipeline import RecentCandids


def test_a_candid_is_known_once_added() -> None:
    recent = RecentCandids(10)
    assert 5 not in recent
    recent.add([5])
    assert 5 in recent


def test_the_oldest_are_forgotten_first() -> None:
    recent = RecentCandids(2)
    recent.add([1, 2, 3])
    assert [candid in recent for candid in (1, 2, 3)] == [False, True, True]


def test_a_set_of_size_0_knows_nothing() -> None:
    recent = RecentCandids(0)
    recent.add([1])
    assert 1 not in recent


@given(st.lists(st.lists(st.integers(0, 30), max_size=10)), st.integers(0, 12))
def test_it_never_grows_past_its_size_and_knows_the_latest(batches: list[list[int]], size: int) -> None:
    recent = RecentCandids(size)
    for batch in batches:
        recent.add(batch)
        assert len(recent) <= size
    new = range(100, 100 + size)
    recent.add(new)
    assert all(candid in recent for candid in new)
