import math

import numpy as np
import pytest

from model_zoo.metadata import COLUMNS, FIELDS, Column, column_values, metadata_fields, metadata_input

LEAKS = ("rb", "drb", "braai", "ssdistnr", "ssmagnr", "ssnamenr")
BOOKKEEPING = ("candid", "objectId", "jd", "jdstarthist", "pid", "field", "rcid", "ra", "dec", "tblid", "rfid")


def column(name: str = "magpsf") -> Column:
    return Column(name, (16.0, 18.0, 20.0), (-1.0, 0.0, 2.0))


def one(name: str, **values: float) -> float:
    row = [values[field] for field in metadata_fields([name])]
    return float(column_values(np.array([row]), [name])[0, 0])


@pytest.mark.parametrize("name", [*LEAKS, *BOOKKEEPING, "nonsense"])
def test_a_field_that_gives_the_label_or_the_place_in_the_archive_away_is_no_column(name: str) -> None:
    with pytest.raises(ValueError, match=f"metadata column '{name}' is none that a head may see: aimage"):
        column(name)


def test_no_column_is_made_of_a_score_or_of_a_known_body() -> None:
    assert not set(metadata_fields(COLUMNS)) & set(LEAKS)
    assert "jd" not in FIELDS


def test_a_value_lies_on_the_line_through_the_knots_and_is_flat_outside() -> None:
    found = metadata_input(np.array([[16.0], [19.0], [20.0], [3.0], [30.0]]), [column()])
    assert found.dtype == np.float32
    assert found.tolist() == [[-1.0, 0.0], [1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [2.0, 0.0]]


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, -999.0, -99999.0])
def test_a_missing_value_is_nought_and_said_to_be_missing(value: float | None) -> None:
    found = metadata_input(np.array([[value]], np.float64), [column()])
    assert found.tolist() == [[0.0, 1.0]]


def test_a_derived_column_is_missing_where_one_of_its_fields_is() -> None:
    fields = metadata_fields(["g_r"])
    values = np.array([[18.5, 18.0], [-999.0, 18.0], [18.5, np.nan]])
    assert fields == ("sgmag1", "srmag1")
    found = column_values(values, ["g_r"])[:, 0]
    assert found[0] == 0.5
    assert np.isnan(found[1:]).all()


def test_columns_come_in_the_order_named_whatever_the_order_of_fields() -> None:
    values = np.arange(6.0).reshape(2, 3)
    assert metadata_fields(["srmag1", "g_r", "magpsf"]) == ("magpsf", "sgmag1", "srmag1")
    assert column_values(values, ["srmag1", "g_r", "magpsf"]).tolist() == [[2.0, -1.0, 0.0], [5.0, -1.0, 3.0]]


def test_latitudes_are_those_of_known_places() -> None:
    galactic_pole, orion, ecliptic_pole = (192.85948, 27.12825), (83.82208, -5.39111), (270.0, 66.5607089)
    assert one("gal_lat", ra=galactic_pole[0], dec=galactic_pole[1]) == pytest.approx(90)
    assert one("gal_lat", ra=orion[0], dec=orion[1]) == pytest.approx(-19.384, abs=0.01)
    assert one("ecl_lat", ra=ecliptic_pole[0], dec=ecliptic_pole[1]) == pytest.approx(90)
    assert one("ecl_lat", ra=0.0, dec=0.0) == pytest.approx(0, abs=1e-9)


def test_history_is_told_in_days_and_counts_and_never_as_a_date() -> None:
    assert one("age", jd=2461000.5, jdstarthist=2460990.5) == 10
    assert one("non_detections", ncovhist=100, ndethist=30) == 70
    assert one("detected_share", ncovhist=0, ndethist=1) == 1


@pytest.mark.parametrize(("knots", "levels"), [((), ()), ((1.0, 1.0), (0.0, 1.0)), ((1.0, 2.0), (0.0,))])
def test_knots_rise_and_have_a_level_each(knots: tuple[float, ...], levels: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="needs rising knots and a level for each"):
        Column("magpsf", knots, levels)
