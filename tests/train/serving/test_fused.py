"""The head that sees metadata is exactly the blend of the heads it is folded from."""

import numpy as np
import torch

from model_zoo.classifier.encoder import freeze
from model_zoo.classifier.mlp import Mlp, MlpConfig
from model_zoo.metadata import COLUMNS, metadata_fields, metadata_input
from train.serving.heads import (
    HeadTable,
    MetadataTraining,
    fit_columns,
    fit_members,
    folded,
    hidden_at_random,
    members_logits,
    taught,
)

FIELDS = metadata_fields(COLUMNS)
SHORT = MetadataTraining(members=2, hidden=8, steps=60, trees=40)


def table(count: int = 120, classes: int = 3) -> HeadTable:
    """Classes that differ in brightness alone; a tenth of what is known is missing."""
    random = np.random.default_rng(0)
    label = np.arange(count) % classes
    values = random.normal(0, 1, (count, len(FIELDS)))
    values[:, FIELDS.index("magpsf")] = 18 + label + random.normal(0, 0.1, count)
    values[random.random(values.shape) < 0.1] = -999.0
    return HeadTable(values, torch.eye(classes)[torch.from_numpy(label)], torch.ones(count))


def generator() -> torch.Generator:
    torch.manual_seed(0)
    return torch.Generator().manual_seed(0)


def test_knots_are_quantiles_and_levels_rise_from_end_to_end() -> None:
    column = fit_columns(table().values)[COLUMNS.index("magpsf")]
    assert 17 < column.knots[0] < column.knots[-1] < 21
    assert (np.diff(column.levels) > 0).all()
    assert (column.levels[0], column.levels[-1]) == (-1.7, 1.7)


def test_equal_quantiles_are_one_knot_at_their_mean_level() -> None:
    values = np.ones((50, len(FIELDS)))
    values[0] = 2.0
    column = fit_columns(values)[COLUMNS.index("magpsf")]
    assert column.knots == (1.0, 2.0)
    assert column.levels[0] < 0 < column.levels[1]


def test_a_column_that_is_always_missing_has_one_knot() -> None:
    values = np.full((5, len(FIELDS)), np.nan)
    assert {column.knots for column in fit_columns(values)} == {(0.0,)}


def test_the_folded_head_gives_the_blend_of_its_parts() -> None:
    torch.manual_seed(0)
    image = Mlp(MlpConfig(latent=7, hidden=16, classes=3))
    image.mean += 0.5
    image.deviation *= 2.0
    freeze(image)
    seen = table()
    columns = fit_columns(seen.values)
    members, losses = fit_members(seen, columns, SHORT, generator())
    assert len(members) == len(losses) == 4
    latents, metadata = torch.randn(120, 7), torch.from_numpy(metadata_input(seen.values, columns))
    whole = folded(image, members, columns, 0.3)
    assert whole.config.hidden == 16 + 4 * 8
    blend = 0.3 * image(latents) + 0.7 * members_logits(members, metadata)
    torch.testing.assert_close(whole(latents, metadata), blend, atol=1e-5, rtol=1e-5)


def test_members_learn_what_the_columns_tell() -> None:
    seen = table()
    columns = fit_columns(seen.values)
    inputs = torch.from_numpy(metadata_input(seen.values, columns))
    for kinds in (("labels",), ("forest",)):
        some = MetadataTraining(kinds, members=1, steps=300, trees=50)
        right = members_logits(fit_members(seen, columns, some, generator())[0], inputs).argmax(
            1
        ) == seen.target.argmax(1)
        assert right.float().mean() > 0.8


def test_a_forest_teaches_out_of_bag_answers_and_crossed_rows() -> None:
    seen = table()
    more = taught(seen, SHORT, generator())
    assert len(more.values) == len(more.target) == len(more.weight) == 120 * (1 + SHORT.crossed)
    assert torch.allclose(more.target.sum(1), torch.ones(len(more.target)), atol=1e-5)
    assert (more.target[:120].max(1).values < 1).any(), "the answers are not the labels again"
    assert torch.equal(more.weight[:120], seen.weight)


def test_what_is_hidden_is_nought_and_said_to_be_missing() -> None:
    inputs = torch.cat([torch.ones(4000, 3), torch.zeros(4000, 3)], dim=1)
    inputs[:, 0], inputs[:, 3] = 0.0, 1.0
    levels, missing = hidden_at_random(inputs, SHORT, generator()).chunk(2, dim=1)
    assert missing[:, 0].all()
    assert not levels[missing > 0].any()
    assert 0.2 < float(missing[:, 1:].mean()) < 0.28
    assert float((missing.sum(1) == 3).float().mean()) > 0.05
