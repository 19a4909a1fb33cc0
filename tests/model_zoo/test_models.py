from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from model_zoo.baselines.alerce import Alerce, AlerceConfig, entropy_loss
from model_zoo.baselines.autoencoder import Autoencoder, AutoencoderConfig, LinearProbe, ProbeConfig, Vae, divergence
from model_zoo.baselines.reconstructor import Reconstructor, ReconstructorConfig, StampMlp
from model_zoo.baselines.stamp_sequence import StampSequence, StampSequenceConfig
from model_zoo.classifier.encoder import EncoderConfig, freeze


def stamps(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, 21, 21, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(("channels", "size", "latent"), [(2, 21, 42), (3, 21, 130), (2, 28, 10), (3, 63, 21)])
def test_the_autoencoder_gives_back_the_shape_it_took(channels: int, size: int, latent: int) -> None:
    model = Autoencoder(AutoencoderConfig(EncoderConfig(channels, size, latent)))
    stamp = torch.rand(2, channels, size, size)
    assert model(stamp).shape == stamp.shape
    assert model.encoder(stamp).shape == (2, latent)
    assert model(stamp).min() >= 0


def seed_001(latent: int = 30) -> nn.Module:
    """Seed 001's autoencoder as its own description has it, layer by layer."""

    def convolution(channels: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(channels, 64, 3, stride, 1), nn.BatchNorm2d(64), nn.ReLU()]

    encoder = nn.Sequential(
        *convolution(2),
        *convolution(64, 2),
        *convolution(64),
        *convolution(64, 2),
        nn.Flatten(),
        nn.Linear(2304, latent),
    )
    decoder = nn.Sequential(
        nn.Linear(latent, 2304), nn.ReLU(), nn.Unflatten(1, (64, 6, 6)),
        *convolution(64), *convolution(64), nn.Upsample(11),
        *convolution(64), *convolution(64), nn.Upsample(21),
        *convolution(64), nn.Conv2d(64, 2, 3, 1, 1), nn.ReLU(),
    )  # fmt: skip
    return nn.Sequential(OrderedDict(encoder=encoder, decoder=decoder))


def test_a_file_of_seed_001s_weights_loads_and_gives_its_reconstructions(tmp_path: Path) -> None:
    torch.manual_seed(1)
    theirs, stamps = seed_001(), torch.rand(8, 2, 21, 21)
    theirs(stamps)  # the running means of its batch normalisation move
    torch.save(theirs.state_dict(), tmp_path / "theirs.pt")
    ours = Autoencoder(AutoencoderConfig(EncoderConfig(channels=2, size=21, latent=30)))
    ours.load_state_dict(torch.load(tmp_path / "theirs.pt", weights_only=True), strict=True)
    for model in (theirs, ours):
        model.eval()
    with torch.no_grad():
        assert torch.equal(ours.encoder(stamps), theirs.get_submodule("encoder")(stamps))
        assert torch.equal(ours(stamps), theirs(stamps))
    assert ours(stamps).std() > 0


def test_seed_001_names_and_shapes_of_the_encoder() -> None:
    state = Autoencoder(AutoencoderConfig(EncoderConfig(channels=2))).state_dict()
    shapes = {name: tuple(state[f"encoder.{name}.weight"].shape) for name in (0, 1, 3, 6, 9, 13)}
    assert shapes == {
        0: (64, 2, 3, 3),
        1: (64,),
        3: (64, 64, 3, 3),
        6: (64, 64, 3, 3),
        9: (64, 64, 3, 3),
        13: (42, 2304),
    }
    assert tuple(state["decoder.0.weight"].shape) == (2304, 42)
    assert list(LinearProbe(ProbeConfig()).state_dict()) == ["linear.weight", "linear.bias"]


def test_the_vae_draws_in_training_only_and_its_divergence_is_zero_at_the_unit_gaussian() -> None:
    model = Vae(AutoencoderConfig(EncoderConfig(channels=2)))
    some = stamps(3, 2)
    torch.manual_seed(0)
    assert not torch.equal(model(some)[0], model(some)[0])
    freeze(model)
    assert torch.equal(model(some)[0], model(some)[0])
    assert torch.equal(model.latents(some), model(some)[1])
    assert divergence(torch.zeros(2, 5), torch.zeros(2, 5)).tolist() == [0, 0]
    assert divergence(torch.ones(1, 4), torch.zeros(1, 4)).item() == pytest.approx(2)


def test_seed_000_flattens_to_1024_and_its_sigmoid_is_a_choice() -> None:
    model = Reconstructor(ReconstructorConfig())
    assert model.encoder[:12](stamps(2, 3)).flatten(1).shape == (2, 1024)
    assert 0 <= model(stamps(2, 3)).min() <= model(stamps(2, 3)).max() <= 1
    assert len(Reconstructor(ReconstructorConfig(sigmoid=False)).decoder) == len(model.decoder) - 1
    assert StampMlp(ReconstructorConfig())(stamps(2, 3)).shape == (2, 5)


def test_alerce_does_not_depend_on_quarter_turns() -> None:
    model = Alerce(AlerceConfig(metadata=23))
    freeze(model)
    some, metadata = stamps(4, 3), torch.rand(4, 23)
    torch.testing.assert_close(model(some, metadata), model(some.rot90(1, (2, 3)), metadata))
    assert not torch.allclose(model(some, metadata), model(some.flip(3), metadata))
    with pytest.raises(ValueError, match="takes 23 columns"):
        model(some)


def test_alerces_layers_are_those_it_published() -> None:
    model = Alerce(AlerceConfig(metadata=23))
    shapes = [tuple(weight.shape) for name, weight in model.named_parameters() if weight.ndim > 1]
    convolutions = [(32, 3, 4, 4), (32, 32, 5, 5), (64, 32, 5, 5), (64, 64, 5, 5), (64, 64, 5, 5)]
    assert shapes == [*convolutions, (64, 2304), (64, 87), (64, 64), (5, 64)]
    assert [layer.p for layer in model.modules() if isinstance(layer, torch.nn.Dropout)] == [0.5, 0.5, 0.5]
    assert model.encoder[:4](stamps(1, 3)).shape == (1, 32, 24, 24)


def test_entropy_rewards_doubt() -> None:
    logits, label = torch.tensor([[4.0, 0.0]]), torch.tensor([0])
    plain = torch.nn.functional.cross_entropy(logits, label)
    assert entropy_loss(logits, label) < plain
    assert entropy_loss(logits, label, beta=0.0) == plain


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_sequences_are_read_at_the_last_step(cell: str) -> None:
    model = StampSequence(StampSequenceConfig(cell=cell))
    freeze(model)
    some = stamps(2, 5, 3)
    other = some.clone()
    other[:, 4] = 0
    assert model(some).shape == (2, 3)
    assert not torch.allclose(model(some), model(other))
    assert model.reconstruct_through(some).shape == some.shape


def test_an_unknown_cell_is_named() -> None:
    with pytest.raises(ValueError, match="'tcn'; it is one of rnn, lstm, gru"):
        StampSequenceConfig(cell="tcn")
