"""The candids of a run's latest alerts, to drop repeats. A courtesy: correctness rests on the store."""

from collections.abc import Iterable


class RecentCandids:
    """A set of at most `size` candids that forgets the oldest first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._candids: dict[int, None] = {}  # a dict keeps the order of arrival

    def __contains__(self, candid: int) -> bool:
        return candid in self._candids

    def __len__(self) -> int:
        return len(self._candids)

    def add(self, candids: Iterable[int]) -> None:
        self._candids.update(dict.fromkeys(candids))
        while len(self._candids) > self._size:
            del self._candids[next(iter(self._candids))]
