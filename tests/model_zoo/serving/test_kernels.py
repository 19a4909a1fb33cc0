"""The heads' arithmetic: right to float32, and each row's bits its own, whatever stands beside it."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model_zoo.classifier.encoder import freeze
from model_zoo.classifier.mlp import Mlp, MlpConfig
from model_zoo.classifier.recurrent import Recurrent, RecurrentConfig
from model_zoo.metadata import Column
from model_zoo.serving import kernels
from model_zoo.serving.heads import Linear, MlpHead, RecurrentHead

Floats = NDArray[np.float32]
FLOAT32: float = float(np.finfo(np.float32).eps)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(1)


def normal(random: np.random.Generator, *shape: int) -> Floats:
    return random.normal(0, 1, shape).astype(np.float32)


def with_moments(head: Mlp | Recurrent) -> None:
    """Moments and a temperature that change the answer."""
    head.mean.normal_()
    head.deviation.uniform_(0.5, 2)
    head.temperature.fill_(1.7)


def test_exponentials_are_right_to_float32_and_clamped_where_float32_ends() -> None:
    values = np.linspace(-100, 100, 200_001).astype(np.float32)
    expected = np.exp(np.clip(values, -87, 88).astype(np.float64))
    kernels.exponentials(values, np.empty_like(values))
    assert np.abs(values / expected - 1).max() < 2 * FLOAT32


@pytest.mark.parametrize("inputs", [1, 3, 4, 47, 2304])
@pytest.mark.parametrize("outputs", [1, 5, 16, 42])
def test_a_linear_layer_is_its_product_to_float32(inputs: int, outputs: int, random: np.random.Generator) -> None:
    rows, weight, bias = normal(random, 7, inputs), normal(random, outputs, inputs), normal(random, outputs)
    expected = rows.astype(np.float64) @ weight.T.astype(np.float64) + bias
    made = Linear(torch.from_numpy(weight), torch.from_numpy(bias))(rows)
    # the error of a sum in order is at most its length times that of float32, times the sum of the sizes
    sizes = np.abs(rows).astype(np.float64) @ np.abs(weight.T) + np.abs(bias)
    assert (np.abs(made - expected) <= (inputs + 1) * FLOAT32 * sizes).all()


@pytest.mark.parametrize("count", range(1, 10))
def test_a_rows_product_has_the_same_bits_alone_and_in_any_place(count: int, random: np.random.Generator) -> None:
    layer = Linear(torch.from_numpy(normal(random, 42, 2303)), torch.from_numpy(normal(random, 42)))
    rows = normal(random, 9, 2303)
    alone = np.concatenate([layer(rows[row : row + 1]) for row in range(9)])
    assert np.array_equal(layer(rows[:count]), alone[:count])
    assert np.array_equal(layer(rows[:count][::-1]), alone[:count][::-1])


def test_a_linear_layer_is_not_made_of_another_one() -> None:
    with pytest.raises(TypeError, match="a head has ReLU where a linear layer is expected"):
        Linear.of(torch.nn.ReLU())


def test_softmax_is_that_of_torch_for_huge_logits_too(random: np.random.Generator) -> None:
    logits = np.concatenate([normal(random, 50, 5), 1e4 * normal(random, 50, 5)])
    expected = torch.from_numpy(logits.copy()).double().softmax(dim=1).numpy()
    kernels.softmax(logits)
    assert np.abs(logits - expected).max() < 4 * FLOAT32


@pytest.mark.parametrize("metadata", [(), ("magpsf", "g_r")])
def test_the_served_mlp_answers_as_the_trained_one(metadata: tuple[str, ...], random: np.random.Generator) -> None:
    torch.manual_seed(2)
    columns = tuple(Column(name, (0.0, 20.0), (-1.0, 1.0)) for name in metadata)
    mlp = Mlp(MlpConfig(metadata=columns))
    freeze(mlp)
    with_moments(mlp)
    latents, beside = normal(random, 20, 42), normal(random, 20, 2 * len(columns))
    given = torch.from_numpy(beside) if columns else None
    expected = mlp(torch.from_numpy(latents), given).softmax(dim=1).numpy()
    assert np.abs(MlpHead(mlp)(latents, beside) - expected).max() < 1e-6


@pytest.mark.parametrize("layers", [1, 2])
def test_the_served_recurrent_head_answers_as_the_trained_one(layers: int, random: np.random.Generator) -> None:
    torch.manual_seed(3)
    recurrent = Recurrent(RecurrentConfig(layers=layers))
    freeze(recurrent)
    with_moments(recurrent)
    lengths = np.array([1, 30, 2, 2, 128, 5])
    total = lengths.sum()
    latents, jd = normal(random, total, 42), 2461000.5 + random.uniform(-0.1, 3, total).cumsum()
    band = random.integers(0, 5, total)  # 0 and 4 are no bands that the head knows
    ends = lengths.cumsum()
    expected = []
    for start, end in zip(ends - lengths, ends, strict=True):
        one = [torch.from_numpy(column[None, start:end]) for column in (latents, jd, band)]
        expected.append(recurrent(*one, torch.tensor([end - start])).softmax(dim=1).numpy()[0])
    made = RecurrentHead(recurrent)(latents, jd, band, lengths)
    assert np.abs(made - expected).max() < 2e-6


def test_dates_that_go_back_count_as_no_time() -> None:
    days = np.empty((3, 2), np.float32)
    kernels.elapsed(np.array([10.0, 9.0, 12.0]), np.array([3]), days)
    assert days.tolist() == [[0, 0], [0, 0], [np.float32(np.log1p(3.0)), np.float32(np.log1p(2.0))]]
