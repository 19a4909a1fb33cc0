from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from consumer.errors import ConfigError
from consumer.inference.batching import CPU_SHAPES
from consumer.inference.models import Inference, choose_device
from consumer.store.sequences import SequencePrefix
from model_zoo.checkpoint import Checkpoint
from model_zoo.preprocess import normalise
from tests.conftest import random_checkpoint

SOME = {1: 20, 7: 70, 64: 200, 512: 512}
"""Size of a batch → how many alerts it is tried on."""
DEVICES = ["cpu", "cuda"][: 1 + torch.cuda.is_available()]
Pixels = NDArray[np.float32]


@pytest.fixture(scope="module")
def inference() -> Inference:
    return Inference(random_checkpoint(), torch.device("cpu"))


@pytest.fixture(scope="module")
def stamps() -> list[Pixels]:
    return list(np.random.default_rng(1).normal(100, 20, (512, 3, 21, 21)).astype(np.float32))


@pytest.fixture(scope="module")
def whole(inference: Inference, stamps: list[Pixels]) -> Sequence[Pixels]:
    """Latents and probabilities of all stamps, given at once."""
    return inference.encode(stamps)


def history(length: int, seed: int) -> SequencePrefix:
    random = np.random.default_rng(seed)
    return SequencePrefix(
        latents=random.normal(0, 1, (length, 42)).astype(np.float32),
        jd=2461000.5 + random.uniform(0, 2, length).cumsum(),
        band=random.integers(1, 4, length),
        truncated=False,
        late=False,
    )


def in_batches(total: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, total, size)]


@pytest.mark.parametrize("size", SOME)
def test_latents_and_probabilities_do_not_depend_on_how_alerts_fall_into_batches(
    inference: Inference, stamps: list[Pixels], whole: Sequence[Pixels], size: int
) -> None:
    some = stamps[: SOME[size]]
    parts = [inference.encode(some[part]) for part in in_batches(len(some), size)]
    for all_at_once, piecemeal in zip(whole, zip(*parts, strict=True), strict=True):
        assert np.array_equal(np.concatenate(piecemeal), all_at_once[: len(some)])


def test_an_alerts_place_in_the_batch_does_not_matter(inference: Inference, stamps: list[Pixels]) -> None:
    forth, back = inference.encode(stamps[:70]), inference.encode(stamps[:70][::-1])
    for one, other in zip(forth, back, strict=True):
        assert np.array_equal(one, other[::-1])


@pytest.mark.parametrize("size", SOME)
def test_sequence_probabilities_do_not_depend_on_how_alerts_fall_into_batches(inference: Inference, size: int) -> None:
    histories = [history(1 + seed * seed % 40, seed) for seed in range(SOME[size])]
    whole = inference.classify(histories)
    parts = [inference.classify(histories[part]) for part in in_batches(len(histories), size)]
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("length", [1, 2, 3, 8, 9, 127, 128, 300])
def test_a_longer_history_beside_it_does_not_change_an_answer(inference: Inference, length: int) -> None:
    one, longer = history(length, 1), history(301, 2)
    [alone] = inference.classify([one])
    assert np.array_equal(inference.classify([longer, one])[1], alone)


def test_histories_keep_their_order(inference: Inference) -> None:
    histories = [history(length, length) for length in (30, 1, 7, 100, 2)]
    together = inference.classify(histories)
    assert np.array_equal(together, np.concatenate([inference.classify([one]) for one in histories]))


def test_latents_are_the_encoders_of_the_normalised_cuts(
    inference: Inference, stamps: list[Pixels], checkpoint: Checkpoint
) -> None:
    latents, probabilities = inference.encode(stamps[:8])
    expected = checkpoint.encoder(torch.from_numpy(normalise(np.stack(stamps[:8]))))
    assert torch.allclose(torch.from_numpy(latents), expected, atol=1e-5)
    alone = checkpoint.mlp(expected).softmax(dim=1)
    assert torch.allclose(torch.from_numpy(probabilities), alone, atol=1e-5)


def test_probabilities_are_of_the_last_valid_step(inference: Inference, checkpoint: Checkpoint) -> None:
    one = history(5, 3)
    columns = [torch.from_numpy(column[None]) for column in (one.latents, one.jd, one.band)]
    expected = checkpoint.recurrent(*columns, torch.tensor([5])).softmax(dim=1)
    assert torch.allclose(torch.from_numpy(inference.classify([one])), expected, atol=1e-6)


def test_no_alerts_give_empty_results_of_the_right_width(inference: Inference) -> None:
    latents, probabilities = inference.encode([])
    assert (latents.shape, probabilities.shape) == ((0, 42), (0, 5))
    assert inference.classify([]).shape == (0, 5)


def test_a_cut_of_nan_alone_gives_finite_probabilities(inference: Inference) -> None:
    """A missing template is such a plane."""
    latents, probabilities = inference.encode([np.full((3, 21, 21), np.nan, np.float32)])
    assert np.isfinite(latents).all()
    assert probabilities.sum() == pytest.approx(1)


def test_results_are_float32_and_probabilities_sum_to_1(inference: Inference, stamps: list[Pixels]) -> None:
    results: Sequence[Pixels] = (*inference.encode(stamps[:9]), inference.classify([history(3, 1)]))
    assert all(result.dtype == np.float32 for result in results)
    assert results[1].sum(axis=1) == pytest.approx(np.ones(9))


# Devices


def test_auto_takes_a_gpu_where_there_is_one() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("asked", ["cuda:99", "gpu", "", "cuda:x"])
def test_a_device_that_is_not_there_is_an_error_at_the_start_that_names_the_setting(asked: str) -> None:
    with pytest.raises(ConfigError, match=f"model.device is {asked!r}"):
        choose_device(asked)


def test_a_gpu_asked_for_and_missing_is_not_silently_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match=r"cuda is not visible \(0 CUDA devices are\); give cpu"):
        choose_device("cuda")


@pytest.mark.parametrize("device", DEVICES)
def test_every_device_here_agrees_with_the_cpu_within_1e_4(
    inference: Inference, stamps: list[Pixels], device: str
) -> None:
    other = Inference(random_checkpoint(), torch.device(device))
    for ours, theirs in zip(inference.encode(stamps[:70]), other.encode(stamps[:70]), strict=True):
        assert np.allclose(ours, theirs, atol=1e-4)


def test_metadata_changes_an_alerts_own_answer_and_never_its_latent(stamps: list[Pixels]) -> None:
    seeing = Inference(random_checkpoint(metadata=("magpsf", "g_r")), torch.device("cpu"))
    rows = [(18.0, 19.0, 18.5), (12.0, 19.0, 18.5), (None, None, None), (-999.0, float("nan"), 18.5)]
    latents, probabilities = seeing.encode([stamps[0]] * 4, rows)
    assert np.isfinite(probabilities).all()
    assert (latents == latents[0]).all()
    assert not np.allclose(probabilities[0], probabilities[1])
    assert np.array_equal(probabilities[2], probabilities[3])


def test_metadata_answers_do_not_depend_on_how_alerts_fall_into_batches(stamps: list[Pixels]) -> None:
    seeing = Inference(random_checkpoint(metadata=("magpsf",)), torch.device("cpu"))
    rows = [(float(value),) for value in np.linspace(12, 22, 70)]
    whole = seeing.encode(stamps[:70], rows)
    parts = [seeing.encode(stamps[part], rows[part]) for part in in_batches(70, 7)]
    for all_at_once, piecemeal in zip(whole, zip(*parts, strict=True), strict=True):
        assert np.array_equal(np.concatenate(piecemeal), all_at_once)


def test_an_empty_batch_has_no_metadata() -> None:
    latents, probabilities = Inference(random_checkpoint(metadata=("magpsf",)), torch.device("cpu")).encode([], [])
    assert (len(latents), len(probabilities)) == (0, 0)


def test_a_cpu_takes_the_shapes_of_a_cpu(inference: Inference) -> None:
    assert inference.shapes in CPU_SHAPES
