"""How fast packets are sent: evenly, in bursts as a camera's visits make them, or without a brake."""

import re
from dataclasses import dataclass, field

VISIT = re.compile(r"(\d+)/(\d+(?:\.\d+)?)s")


@dataclass(slots=True)
class Pace:
    """`burst` packets at once, every `period` seconds; a period of 0 does not wait."""

    burst: int = 1
    period: float = 0.0
    _start: float = field(default=0.0, init=False)
    _sent: int = field(default=0, init=False)

    def start(self, now: float) -> None:
        """Begin to count at time `now` (seconds of a monotonic clock)."""
        self._start, self._sent = now, 0

    def wait(self, now: float) -> float:
        """Seconds until the next packet may go; 0 or less: it may go now."""
        return self._start + (self._sent // self.burst) * self.period - now

    def sent(self) -> None:
        """Count one packet."""
        self._sent += 1


def pace(rate: float | None, visit: str | None) -> Pace:
    """The pace of `--rate N` (packets a second) or `--visit N/Ss` (N packets every S seconds).

    Raises ValueError for what is neither.
    """
    if rate is not None and visit is not None:
        raise ValueError("--rate and --visit exclude each other: give one of them")
    if visit is not None:
        match = VISIT.fullmatch(visit)
        if match is None or int(match[1]) < 1:
            raise ValueError(f"--visit {visit!r} is not N/SECONDSs: write e.g. 10000/39s")
        return Pace(int(match[1]), float(match[2]))
    if rate is None:
        return Pace()
    if rate <= 0:
        raise ValueError(f"--rate {rate} is no rate: write packets a second, e.g. 333")
    return Pace(1, 1.0 / rate)
