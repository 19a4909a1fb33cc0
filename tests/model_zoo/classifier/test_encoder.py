import pytest
import torch

from model_zoo.classifier.encoder import WIDTH, EncoderConfig, build_encoder, freeze, latent_moments


@pytest.mark.parametrize(("size", "reduced"), [(21, 6), (27, 7), (63, 16), (1, 1), (2, 1), (20, 5)])
def test_the_last_feature_map_is_a_quarter_of_the_input_rounded_up(size: int, reduced: int) -> None:
    config = EncoderConfig(size=size)
    trunk = build_encoder(config)[:-2]
    assert config.reduced == reduced
    assert trunk(torch.zeros(2, 3, size, size)).shape == (2, WIDTH, reduced, reduced)


def test_the_first_layer_sees_every_pixel_and_the_second_and_fourth_halve_the_map() -> None:
    trunk = build_encoder(EncoderConfig())[:-2]
    sides = [trunk[: 3 * layers](torch.zeros(2, 3, 21, 21)).shape[2:] for layers in range(1, 5)]
    assert sides == [(21, 21), (11, 11), (11, 11), (6, 6)]


@pytest.mark.parametrize("config", [EncoderConfig(), EncoderConfig(channels=1, size=27, latent=130)])
def test_stamps_become_latents_of_the_length_asked_for(config: EncoderConfig) -> None:
    encoder = freeze(build_encoder(config))
    latents = encoder(torch.rand(4, config.channels, config.size, config.size))
    assert latents.shape == (4, config.latent)
    assert latents.dtype == torch.float32


def test_parameters_are_named_as_in_the_seed() -> None:
    names = [name for name, _ in build_encoder(EncoderConfig()).named_parameters()]
    assert names[:4] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert names[-2:] == ["13.weight", "13.bias"]


def test_a_latent_may_be_negative_since_nothing_follows_the_projection() -> None:
    torch.manual_seed(0)
    assert bool((freeze(build_encoder(EncoderConfig()))(torch.rand(8, 3, 21, 21)) < 0).any())


def test_a_frozen_encoder_has_no_gradients_and_owes_nothing_to_its_batch() -> None:
    torch.manual_seed(0)
    encoder = freeze(build_encoder(EncoderConfig()))
    images = torch.rand(8, 3, 21, 21)
    first = encoder(images)
    assert not first.requires_grad
    other = torch.cat([images[:4], 100 * torch.rand(4, 3, 21, 21)])
    assert torch.equal(encoder(other)[:4], first[:4])
    assert torch.equal(encoder(images), first), "running an encoder leaves it as it was"


def test_moments_are_of_each_dimension_and_a_dead_one_has_deviation_1() -> None:
    latents = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    mean, deviation = latent_moments(latents)
    assert mean.tolist() == [2.0, 5.0]
    assert deviation.tolist() == pytest.approx([2**0.5, 1.0])
