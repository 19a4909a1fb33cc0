"""Times and dates as people write them: ISO 8601, of UTC unless a zone is named."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

YEARS: Final = range(1990, 2101)
"""A time outside these is a slip: a count since 1970 in another unit, or a year that was mistyped."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EXAMPLE: Final = "2026-01-31T04:00"
NUMBER: Final = re.compile(r"[+-]?[0-9]+([.,][0-9]*)?")
DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8}")
PER_SECOND: Final = (1, 10**3, 10**6, 10**9)


def time_ms(text: str) -> int:
    """A time in milliseconds since 1970. Raises ValueError, which names `text`, for a count since 1970 too."""
    if NUMBER.fullmatch(text) and not DATE.fullmatch(text):
        raise ValueError(f"{text} is a bare number; {_suggested(text)}")
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text} is no time; give one of UTC such as {EXAMPLE}") from None
    if time.year not in YEARS:
        when = "still to come" if time.year >= YEARS.stop else "long past"
        raise ValueError(f"{text} is of the year {time.year}, {when}; give a time of UTC such as {EXAMPLE}")
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def utc_text(time_ms: int) -> str:
    """Milliseconds since 1970 as 2026-01-31T04:00:00.000Z."""
    time = EPOCH + timedelta(milliseconds=time_ms)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_date(text: str) -> date:
    """A date from 2026-01-31 or 20260131. Raises ValueError, which names `text`."""
    try:
        found = date.fromisoformat(text) if DATE.fullmatch(text) else None
    except ValueError:
        found = None
    if found is None or found.year not in YEARS:
        raise ValueError(f"{text} is no date; give one of UTC such as 2026-01-31")
    return found


def _suggested(number: str) -> str:
    """What a count of s, ms, µs or ns since 1970 means, where it means a time that can be."""
    seconds = float(number.replace(",", "."))
    first, last = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (YEARS.start, YEARS.stop))
    for per_second in PER_SECOND:
        if first <= seconds / per_second < last:
            time = datetime.fromtimestamp(seconds / per_second, UTC).replace(tzinfo=None)
            return f"did you mean {time.isoformat(timespec='seconds')}?"
    return f"give a time of UTC such as {EXAMPLE}"
