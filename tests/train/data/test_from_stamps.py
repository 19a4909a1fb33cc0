"""Sets of stamps as alerts: what is known is kept, what is not is said to be unknown, and no object is two."""

from dataclasses import replace

import numpy as np
import pytest

from model_zoo.classes import CLASSES
from train.data.from_stamps import alerts_from_stamps
from train.data.stamp_set import DatasetError, StampSet
from train.serving.dataset import prefixes

ROWS = 12


def stamp_set(side: int = 25, steps: int = 0) -> StampSet:
    shape = (ROWS, steps, side, side, 3) if steps else (ROWS, side, side, 3)
    return StampSet(
        images=np.random.default_rng(0).random(shape, np.float32),
        channels=("difference", "science", "template"),
        labels=np.arange(ROWS) % 5,
        classes=CLASSES,
        split=np.repeat(["train", "validation", "test"], ROWS // 3),
    )


def test_planes_are_put_in_the_order_that_serves_and_cut_to_the_middle() -> None:
    stamps = stamp_set()
    from_set = alerts_from_stamps(stamps, 21)
    assert from_set.train.stamps.shape == (4, 3, 21, 21)
    for place, channel in enumerate(("science", "template", "difference")):
        wanted = stamps.images[:4, 2:23, 2:23, stamps.plane(channel)]
        np.testing.assert_array_equal(from_set.train.stamps[:, place], wanted)
    np.testing.assert_array_equal(from_set.holdout["test"].label, stamps.labels[8:])
    with pytest.raises(DatasetError, match="25 pixels wide; 27 are needed"):
        alerts_from_stamps(stamps, 27)


def test_time_band_and_metadata_are_unknown() -> None:
    train = alerts_from_stamps(stamp_set(), 21).train
    assert not train.band.any()
    assert np.isnan(train.metadata).all()
    assert prefixes(train).lengths.tolist() == [1, 1, 1, 1]


def test_a_row_written_several_times_is_one_object_and_is_learned_once() -> None:
    stamps = stamp_set()
    stamps.images[2] = stamps.images[0]
    from_set = alerts_from_stamps(stamps, 21)
    assert from_set.repeats == 1
    assert len(from_set.train) == len(set(from_set.train.object_id)) == 3


def test_rows_of_one_name_are_one_object_and_rows_without_a_name_are_known_by_content() -> None:
    stamps = replace(stamp_set(), oid=np.array(["ZTF1", "ZTF1", "", "", *["ZTF9"] * 8]))
    first, second, *others = alerts_from_stamps(stamps, 21).train.object_id
    assert first == second == "ZTF1"
    assert len({first, *others}) == 3


@pytest.mark.parametrize("names", [ROWS - 3, ROWS + 3])
def test_names_that_cannot_be_matched_to_rows_are_left_aside(names: int) -> None:
    stamps = replace(stamp_set(), oid=np.full(names, "ZTF1"))
    assert (
        alerts_from_stamps(stamps, 21).train.object_id.tolist()
        == alerts_from_stamps(stamp_set(), 21).train.object_id.tolist()
    )


def test_stamps_of_a_row_are_one_sequence_in_order_and_what_fills_it_up_is_left_out() -> None:
    stamps = stamp_set(21, steps=5)
    stamps.images[1, 3:] = 0
    train = alerts_from_stamps(stamps, 21).train
    assert len(train) == 18
    sequences = prefixes(train)
    keys = np.array([train.key[row].split()[1] for row in sequences.last_rows])
    assert [sorted(sequences.lengths[keys == str(row)].tolist()) for row in (0, 1)] == [[1, 2, 3, 4, 5], [1, 2, 3]]
    (last,) = np.flatnonzero((keys == "0") & (sequences.lengths == 5).numpy())
    np.testing.assert_array_equal(train.stamps[sequences.rows[last, :5], 0], stamps.images[0, ..., 1])
    assert (np.diff(sequences.jd[last, :5]) > 0).all()


def test_classes_are_known_by_their_names() -> None:
    three = replace(stamp_set(), labels=np.arange(ROWS) % 3, classes=("SN", "vs", "AGN"))
    assert alerts_from_stamps(three, 21).train.label.tolist() == [1, 2, 0, 1]
    with pytest.raises(DatasetError, match="class 'QSO' of this data set is none of AGN, SN"):
        alerts_from_stamps(replace(three, classes=("SN", "VS", "QSO")), 21)


def test_validation_and_test_are_kept_row_by_row_in_their_order() -> None:
    stamps = stamp_set()
    stamps.images[9] = stamps.images[8]
    test = alerts_from_stamps(stamps, 21).holdout["test"]
    np.testing.assert_array_equal(test.stamps[:, 0], stamps.images[8:, 2:23, 2:23, 1])
    assert len(set(test.key)) == 4
