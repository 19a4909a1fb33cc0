from datetime import date

import pytest

from consumer.configuration.times import read_date, time_ms, utc_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T04:00", 1_769_832_000_000),
        ("2026-01-31T05:00+01:00", 1_769_832_000_000),
        ("2026-01-31 04:00:00Z", 1_769_832_000_000),
        ("2026-01-31", 1_769_817_600_000),
        ("20260131", 1_769_817_600_000),
        ("1990-01-01", 631_152_000_000),
        ("2100-12-31", 4_133_894_400_000),
    ],
)
def test_an_iso_time_is_milliseconds_since_1970(text: str, expected: int) -> None:
    assert time_ms(text) == expected


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        ("1769832000", "did you mean 2026-01-31T04:00:00?"),
        ("1769832000000", "did you mean 2026-01-31T04:00:00?"),
        ("1769832000000000", "did you mean 2026-01-31T04:00:00?"),
        ("1769832000000000000", "did you mean 2026-01-31T04:00:00?"),
        ("1769832000.25", "did you mean 2026-01-31T04:00:00?"),
        ("2461071.66", "give a time of UTC such as 2026-01-31T04:00"),
        ("-1", "give a time of UTC such as 2026-01-31T04:00"),
        ("2026", "give a time of UTC such as 2026-01-31T04:00"),
        ("1" * 400, "give a time of UTC such as 2026-01-31T04:00"),
    ],
)
def test_a_bare_number_is_refused_with_the_time_that_it_may_mean(number: str, hint: str) -> None:
    with pytest.raises(ValueError, match="is a bare number") as caught:
        time_ms(number)
    assert str(caught.value) == f"{number} is a bare number; {hint}"


@pytest.mark.parametrize("text", ["1711-05-02", "1989-12-31T23:59", "2101-01-01", "9999-12-31", "0001-01-01T00+14:00"])
def test_a_year_that_no_alert_is_of_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"is of the year {int(text[:4])}"):
        time_ms(text)


@pytest.mark.parametrize("text", ["20261340", "yesterday", "2026-13-01", "٢٠٢٦-٠١-٣١", " "])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        time_ms(text)


@pytest.mark.parametrize("text", ["2026-12-01", "20261201"])
def test_a_date_is_read_in_both_forms(text: str) -> None:
    assert read_date(text) == date(2026, 12, 1)


@pytest.mark.parametrize(
    "text", ["2026121", "2026-12-1", "20261301", "2026-12-01T00:00", "0026-12-01", "2101-01-01", "2026-W05", "٢٠٢٦١٢٠١"]
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no date; give one of UTC such as 2026-01-31"):
        read_date(text)


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (1_769_832_000_250, "2026-01-31T04:00:00.250Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
    ],
)
def test_a_time_is_written_as_utc_to_the_millisecond(time_ms: int, text: str) -> None:
    assert utc_text(time_ms) == text
