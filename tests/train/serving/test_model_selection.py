"""Nothing is chosen on the fold that is scored, and no model that chooses saw it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from train.data.alert_table import FIELDS, AlertTable
from train.experiments.catalogue import read_experiment
from train.experiments.experiment import changed
from train.serving.dataset import Folds, ServingDataset, build_dataset
from train.serving.encoder import EncoderTraining
from train.serving.fit import Encoders, ServingConfig
from train.serving.model_selection import (
    SHARES,
    EncoderChoice,
    balanced_nll,
    choose_encoder,
    choose_head,
    encoder_candidates,
)
from train.serving.run import serving_of

COUNT = 60
QUICK = replace(
    ServingConfig(),
    encoder=EncoderTraining(steps=2, batch=8),
    columns=replace(ServingConfig().columns, members=1, steps=2, trees=40, hidden=4),
)


def observed(first: int = 0, objects: int = 40) -> AlertTable:
    random = np.random.default_rng(first)
    names = np.array([f"ZTF{first + place % objects:03d}" for place in range(COUNT)])
    return AlertTable(
        stamps=random.normal(100, 5, (COUNT, 3, 21, 21)).astype(np.float32),
        jd=2461000.5 + np.arange(COUNT),
        band=np.ones(COUNT, np.int64),
        candid=first + np.arange(COUNT),
        object_id=names,
        key=names,
        label=(np.arange(COUNT) % objects % 5).astype(np.int64),
        metadata=random.normal(0, 1, (COUNT, len(FIELDS))),
    )


@pytest.fixture(scope="module")
def alerts() -> ServingDataset:
    return build_dataset(observed(), [observed(1000)], ServingConfig().preprocessing)


@pytest.fixture(scope="module")
def folds(alerts: ServingDataset) -> Folds:
    return Folds.of(alerts, 5, 1)


def test_folds_hold_each_real_object_once_and_no_simulated_one(alerts: ServingDataset, folds: Folds) -> None:
    assert len(folds.rows) == COUNT
    objects = alerts.objects[folds.rows]
    assert all(len(set(folds.fold[objects == name])) == 1 for name in set(objects))
    assert not alerts.simulated[alerts.sequences.last_rows[folds.rows].numpy()].any()


def test_a_fold_is_chosen_for_by_two_others_and_each_pair_serves_both(folds: Folds) -> None:
    assert [folds.inner(outer) for outer in range(5)] == [[1, 4], [0, 2], [1, 3], [2, 4], [0, 3]]
    assert list(folds.pairs()) == [(0, 1), (0, 4), (1, 2), (2, 3), (3, 4)]
    assert list(Folds(folds.rows, folds.fold, 3).pairs()) == [(0, 1), (0, 2), (1, 2)]


def test_what_chooses_learned_from_no_object_of_either_fold(alerts: ServingDataset, folds: Folds) -> None:
    for pair in folds.pairs():
        kept = set(alerts.table.object_id[alerts.without(folds.within(pair))])
        assert not kept & set(alerts.objects[folds.within(pair)])
        assert len(kept) > 40


def test_every_set_of_folds_has_a_seed_of_its_own(folds: Folds) -> None:
    held = [(), *((one,) for one in range(5)), *folds.pairs()]
    assert len({ServingConfig().without(folds).seed for folds in held}) == len(held)


def test_labels_of_the_fold_that_is_scored_change_nothing_that_was_chosen_for_it(
    alerts: ServingDataset, folds: Folds, tmp_path: Path
) -> None:
    f1_of = replace(alerts.table, label=alerts.table.label.copy())
    out = alerts.sequences.last_rows[folds.within((2,))].numpy()
    f1_of.label[out] = (f1_of.label[out] + 1) % 5
    other = build_dataset(f1_of.only(~alerts.simulated), [observed(1000)], ServingConfig().preprocessing)
    plans = []
    for number, some in enumerate((alerts, other)):
        encoders = Encoders(tmp_path / str(number))
        plan = choose_encoder(some, folds, QUICK, 2, encoders, str)
        plans.append((plan.outer[2], choose_head(some, folds, plan, 2, encoders, str).outer[2]))
    assert plans[0] == plans[1]


def test_an_encoder_that_chooses_is_fitted_without_both_folds_of_its_pair(
    alerts: ServingDataset, folds: Folds, tmp_path: Path
) -> None:
    """A fit is kept under the fingerprint of the alerts that it saw."""
    choose_encoder(alerts, folds, QUICK, 2, Encoders(tmp_path), str)
    seen = {path.stem.rpartition("-")[2] for path in tmp_path.iterdir()}
    assert seen == {alerts.fingerprint(alerts.without(folds.within(pair))) for pair in folds.pairs()}


@pytest.mark.parametrize(("informative", "share"), [("stamps", SHARES[-1]), ("metadata", SHARES[0])])
def test_the_share_of_the_image_head_is_large_where_stamps_tell_the_classes_and_small_where_metadata_does(
    tmp_path: Path, informative: str, share: float
) -> None:
    table = observed(objects=COUNT)
    if informative == "stamps":
        for row, place in enumerate(table.label):
            table.stamps[row, :, 2 + 4 * place : 5 + 4 * place] += 100
    else:
        table.metadata[:] = table.label[:, None] + np.random.default_rng(1).normal(0, 0.1, table.metadata.shape)
    alerts = build_dataset(table, [], ServingConfig().preprocessing)
    folds = Folds.of(alerts, 3, 1)
    columns = replace(QUICK.columns, steps=200, hidden=16)
    serving = replace(QUICK, encoder=EncoderTraining(steps=30, batch=16), columns=columns)
    found = choose_head(alerts, folds, EncoderChoice((serving,) * 3, serving), 30, Encoders(tmp_path), str)
    shares = [one.share for one in (*found.outer, found.final)]
    assert shares.count(share) >= 3, shares  # one choice of twenty objects may go astray


def test_the_least_regret_is_that_of_the_better_answers_whatever_their_temperature() -> None:
    label = torch.arange(30) % 3
    weight = torch.ones(30, dtype=torch.float64)
    right, noise = torch.eye(3)[label], torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    assert balanced_nll(right + 0.3 * noise, label, weight) < balanced_nll(right + 3 * noise, label, weight)
    assert balanced_nll(5 * (right + noise), label, weight) == pytest.approx(
        balanced_nll(right + noise, label, weight), abs=5e-3
    )


def test_without_a_search_the_experiment_says_what_is_used(
    alerts: ServingDataset, folds: Folds, tmp_path: Path
) -> None:
    plan = choose_encoder(alerts, folds, QUICK, 0, Encoders(tmp_path), str)
    assert set(plan.outer) == {plan.final} == {QUICK}
    assert not list(tmp_path.iterdir())


def test_an_encoder_that_was_fitted_is_not_fitted_again(alerts: ServingDataset, tmp_path: Path) -> None:
    encoders, kept = Encoders(tmp_path), alerts.without(np.array([0]))
    first, _ = encoders.fit(alerts, QUICK, kept)
    [path] = tmp_path.iterdir()
    written = path.stat().st_mtime_ns
    again, _ = encoders.fit(alerts, QUICK, kept)
    assert all(torch.equal(one, other) for one, other in zip(first.parameters(), again.parameters(), strict=True))
    assert path.stat().st_mtime_ns == written


def test_other_settings_or_other_alerts_are_another_encoder(alerts: ServingDataset, tmp_path: Path) -> None:
    encoders = Encoders(tmp_path)
    encoders.fit(alerts, QUICK, alerts.without(np.array([0])))
    encoders.fit(alerts, QUICK, alerts.without(np.array([9])))
    encoders.fit(alerts, replace(QUICK, simulated=0.1), alerts.without(np.array([0])))
    assert len(list(tmp_path.iterdir())) == 3


def test_a_distilled_encoder_learns_from_its_teachers(alerts: ServingDataset, tmp_path: Path) -> None:
    kept = alerts.without(np.array([0]))
    student, teachers = Encoders(tmp_path).fit(alerts, replace(QUICK, teachers=2), kept)
    assert len(teachers) == 2
    assert len(list(tmp_path.iterdir())) == 3
    assert not torch.equal(student.head[2].weight, teachers[0].head[2].weight)


def test_the_candidates_are_the_experiments_own_setting_first() -> None:
    experiment = changed(read_experiment("estampa-serve")[0], {})
    serving = serving_of(experiment)
    first = encoder_candidates(serving, 250)[0]
    assert replace(first, encoder=serving.encoder) == serving
