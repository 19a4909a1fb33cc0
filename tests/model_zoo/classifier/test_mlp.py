import json

import pytest
import torch

from model_zoo.classes import CLASSES
from model_zoo.classifier.encoder import EncoderConfig, freeze
from model_zoo.classifier.mlp import Mlp, MlpConfig
from model_zoo.classifier.recurrent import RecurrentConfig
from model_zoo.metadata import Column

SEEN = (Column("magpsf", (16.0, 20.0), (-1.0, 1.0)), Column("above_reference", (-2.0, 2.0), (-1.0, 1.0)))


def seeded(config: MlpConfig | None = None) -> Mlp:
    torch.manual_seed(0)
    mlp = Mlp(config or MlpConfig())
    freeze(mlp)
    return mlp


def test_latents_become_one_logit_a_class() -> None:
    assert seeded(MlpConfig(latent=7, classes=3))(torch.rand(4, 7)).shape == (4, 3)


def test_latents_are_standardised_by_the_stored_moments() -> None:
    plain, scaled = seeded(), seeded()
    scaled.mean += 3.0
    scaled.deviation *= 2.0
    latents = torch.rand(4, 42)
    assert torch.allclose(scaled(latents * 2.0 + 3.0), plain(latents), atol=1e-6)


def test_a_temperature_divides_the_logits_and_changes_no_winner() -> None:
    plain, warm = seeded(), seeded()
    warm.temperature *= 4.0
    latents = torch.rand(16, 42)
    assert torch.allclose(warm(latents) * 4.0, plain(latents))
    assert torch.equal(warm(latents).argmax(1), plain(latents).argmax(1))


def test_moments_and_temperature_are_part_of_the_weights() -> None:
    assert {"mean", "deviation", "temperature"} < set(seeded().state_dict())


def test_a_frozen_head_drops_nothing_out() -> None:
    mlp, latents = seeded(), torch.rand(4, 42)
    assert torch.equal(mlp(latents), mlp(latents))


def test_metadata_joins_the_latents_in_the_first_layer() -> None:
    mlp = seeded(MlpConfig(latent=7, classes=3, metadata=SEEN))
    latents, metadata = torch.rand(4, 7), torch.rand(4, 4)
    assert mlp(latents, metadata).shape == (4, 3)
    assert not torch.allclose(mlp(latents, metadata), mlp(latents, metadata + 1))


def test_a_head_that_takes_metadata_says_so_where_there_is_none() -> None:
    with pytest.raises(ValueError, match="this head takes 2 columns of metadata beside the latents"):
        seeded(MlpConfig(metadata=SEEN))(torch.rand(4, 42))


def test_the_fields_asked_for_are_those_of_the_columns() -> None:
    assert MlpConfig(metadata=SEEN).fields == ("magnr", "magpsf")
    assert MlpConfig().fields == ()


def test_a_config_is_written_as_before_there_was_metadata_unless_it_has_some() -> None:
    assert "metadata" not in MlpConfig().to_dict()
    config = MlpConfig(metadata=SEEN)
    assert MlpConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_heads_answer_for_the_classes_and_latents_of_the_project_unless_told_otherwise() -> None:
    heads = MlpConfig(), RecurrentConfig()
    assert {(head.classes, head.latent) for head in heads} == {(len(CLASSES), EncoderConfig().latent)} == {(5, 42)}
