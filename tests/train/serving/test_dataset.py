"""Sequences for training are those that the consumer would judge an alert on."""

import dataclasses

import numpy as np

from consumer.store.sequences import HistoryWindow, StoredSequence
from train.data.alert_table import FIELDS, AlertTable
from train.serving.dataset import build_dataset, prefixes
from train.serving.fit import ServingConfig
from train.serving.pipeline import simulated_held


def table(rows: int = 40, seed: int = 0) -> AlertTable:
    draw = np.random.default_rng(seed)
    return AlertTable(
        stamps=draw.normal(200, 5, (rows, 3, 21, 21)).astype(np.float32),
        jd=2460000 + draw.integers(0, 10, rows) / 2,
        band=draw.integers(1, 4, rows),
        candid=draw.permutation(rows).astype(np.int64),
        object_id=np.array([f"ZTF{place}" for place in draw.integers(0, 8, rows)]),
        key=np.array([f"ZTF{place}" for place in draw.integers(0, 8, rows)]),
        label=draw.integers(-1, 5, rows),
        metadata=draw.normal(0, 1, (rows, len(FIELDS))),
    )


def test_an_alert_is_judged_on_what_the_consumer_would_judge_it_on() -> None:
    alerts = table()
    sequences = prefixes(alerts, longest=4, days=3.0)
    assert sorted(sequences.last_rows.tolist()) == np.flatnonzero(alerts.labelled).tolist()
    for place, row in enumerate(sequences.last_rows.tolist()):
        same = np.flatnonzero(alerts.key == alerts.key[row])
        same = same[np.lexsort((alerts.candid[same], alerts.jd[same]))]
        held = StoredSequence(
            alerts.candid[same], alerts.jd[same], alerts.band[same], alerts.jd[same, None].astype(np.float32)
        )
        (wanted,) = HistoryWindow(alerts=4, days=3.0).histories(held, [int(alerts.candid[row])], [False])
        length = int(sequences.lengths[place])
        np.testing.assert_array_equal(sequences.jd[place, :length], wanted.jd)
        np.testing.assert_array_equal(sequences.band[place, :length], wanted.band)


def test_one_object_weighs_as_much_as_another() -> None:
    alerts = table()
    sequences = prefixes(alerts)
    keys = alerts.key[sequences.last_rows.numpy()]
    for key in np.unique(keys):
        assert np.isclose(sequences.weight.numpy()[keys == key].sum(), 1)


def test_a_simulated_object_never_meets_a_real_one_of_the_same_name() -> None:
    alerts = build_dataset(table(seed=1), [table(seed=1), table(seed=1)], ServingConfig().preprocessing)
    real = set(alerts.table.key[~alerts.simulated])
    assert not real & set(alerts.table.key[alerts.simulated])
    assert alerts.simulated.sum() == 80
    rows = alerts.sequences.rows.numpy()
    for place, length in enumerate(alerts.sequences.lengths.tolist()):
        assert len(set(alerts.table.key[rows[place, :length]])) == 1


def test_held_out_simulated_objects_are_whole_and_never_real() -> None:
    names = np.array([f"ZTF{place // 4}" for place in range(400)])
    many = dataclasses.replace(table(400), object_id=names, key=names)
    alerts = build_dataset(table(seed=2), [many], ServingConfig().preprocessing)
    held = simulated_held(alerts, ServingConfig())
    assert held.any()
    assert not held[alerts.ends_in_real].any()
    assert not set(alerts.objects[held]) & set(alerts.objects[~held])


def test_a_moving_object_is_held_out_with_its_whole_history_under_whatever_names() -> None:
    """Each of its alerts has an objectId of its own; the key of its history is one."""
    key = np.array([f"ssnamenr:{place % 40}" for place in range(400)])
    moving = dataclasses.replace(table(400), object_id=np.array([f"ZTF{place}" for place in range(400)]), key=key)
    alerts = build_dataset(table(seed=2), [moving], ServingConfig().preprocessing)
    held = simulated_held(alerts, ServingConfig())
    kept = alerts.without(np.flatnonzero(held))
    heard = alerts.sequences.rows.numpy()[held]
    valid = np.arange(heard.shape[1]) < alerts.sequences.lengths.numpy()[held][:, None]
    assert held.any()
    assert valid.sum() > held.sum()
    assert not kept[np.unique(heard[valid])].any()
    assert kept.sum() > len(kept) / 2
