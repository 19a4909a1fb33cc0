"""A stamp set's validation and test: a row of several stamps has one prediction, after its last."""

import numpy as np

from model_zoo.preprocess import encoder_input
from tests.conftest import random_checkpoint
from train.data.alert_table import FIELDS, AlertTable
from train.serving.evaluate import evaluate_holdout
from train.serving.fit import Models

ROW = np.array([0, 0, 1, 2, 2, 2, 3])
"""Which row of the set each stamp is of."""


def observed() -> AlertTable:
    random = np.random.default_rng(0)
    names = np.array([f"row {row}" for row in ROW])
    return AlertTable(
        stamps=random.normal(100, 5, (len(ROW), 3, 21, 21)).astype(np.float32),
        jd=2461000.5 + np.arange(len(ROW)),
        band=np.ones(len(ROW), np.int64),
        candid=np.arange(len(ROW)),
        object_id=names,
        key=names,
        label=np.array([4, 1, 0, 3])[ROW],
        metadata=np.full((len(ROW), len(FIELDS)), np.nan),
    )


def test_each_row_is_answered_in_the_order_of_its_set_by_its_last_stamp() -> None:
    checkpoint, table = random_checkpoint(), observed()
    models = Models(checkpoint.encoder, checkpoint.mlp, checkpoint.recurrent, ())
    found = evaluate_holdout(models, {"test": table}, checkpoint.preprocessing)["test"]
    last = [1, 2, 5, 6]
    assert found.label.tolist() == [4, 1, 0, 3]
    inputs = encoder_input(table.stamps[last], checkpoint.preprocessing)
    np.testing.assert_array_equal(found.inputs, inputs.reshape(len(last), -1))
    assert found.latents.shape == (len(last), 42)
    assert found.classifier == "recurrent"
    assert found.scores.keys() == found.probabilities.keys()
