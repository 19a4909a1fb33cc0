"""What happens where a library gives a row other bits in another batch. Such a library is stood in for."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import structlog
import torch
from numpy.typing import NDArray

from consumer.cli import doctor
from consumer.configuration.load import load_settings
from consumer.inference.batching import CPU_SHAPES, GPU_SHAPES, Shapes, pieces, proven_shapes
from consumer.inference.models import Inference
from model_zoo.serving.encoder import ServingEncoder
from tests.conftest import random_checkpoint

Floats = NDArray[np.float32]
ULP = np.float32(2**-20)
"""What a processor might be off by, of latents of about 1."""


@pytest.fixture
def threads() -> Iterator[None]:
    """torch's threads as they were, afterwards."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def by_size(rows: Floats) -> Floats:
    """Xeons with AMX: a product of 8 rows has other bits than one of 16."""
    return rows + ULP * (len(rows) == 8)


def by_place(rows: Floats) -> Floats:
    """What is left over beside full blocks of four goes another way."""
    return rows + ULP * (np.arange(len(rows)) // 4 == 2)[:, None]


def by_threads(rows: Floats) -> Floats:
    return rows + ULP * (torch.get_num_threads() > 1)


def by_neighbour(rows: Floats) -> Floats:
    return rows + ULP * rows[::-1]


def by_order(rows: Floats) -> Floats:
    """Only where the sample, whose rows ascend, goes through backwards."""
    return rows + ULP * (rows[0, 0] > rows[-1, 0])


def independent(rows: Floats) -> Floats:
    return rows * 2


def encoding(library: Callable[[Floats], Floats]) -> Callable[[NDArray[np.intp], Shapes], Sequence[Floats]]:
    sample = np.sort(np.random.default_rng(0).normal(0, 1, (2048, 3)).astype(np.float32), axis=0)

    def encode(numbers: NDArray[np.intp], shapes: Shapes) -> Sequence[Floats]:
        parts = [library(sample[numbers][start:stop]) for start, stop, _ in pieces(len(numbers), shapes)]
        return [np.concatenate(parts)]

    return encode


@pytest.mark.parametrize("shapes", [shapes for shapes in (*CPU_SHAPES, *GPU_SHAPES) if 1 in shapes])
@pytest.mark.parametrize("total", [0, 1, 7, 63, 64, 65, 511, 5000])
def test_pieces_cover_all_rows_in_order_in_known_shapes_without_padding(total: int, shapes: Shapes) -> None:
    made = list(pieces(total, shapes))
    assert [row for start, stop, _ in made for row in range(start, stop)] == list(range(total))
    assert all(stop - start == rows and rows in shapes for start, stop, rows in made)


def test_a_single_shape_is_padded_to() -> None:
    assert list(pieces(1100, (512,))) == [(0, 512, 512), (512, 1024, 512), (1024, 1100, 512)]


def test_a_library_whose_rows_are_independent_takes_all_shapes() -> None:
    assert proven_shapes(encoding(independent), CPU_SHAPES) == CPU_SHAPES[0]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("library", [by_size, by_place, by_neighbour, by_order, by_threads])
def test_a_library_whose_rows_depend_on_the_batch_falls_back_to_one_row_on_one_thread_and_says_so(
    library: Callable[[Floats], Floats],
) -> None:
    torch.set_num_threads(2)
    with structlog.testing.capture_logs() as logs:
        assert proven_shapes(encoding(library), CPU_SHAPES) == (1,)
    assert torch.get_num_threads() == 1
    assert [(line["event"], line["log_level"]) for line in logs] == [("batch_shapes_refused", "warning")]


def test_a_gpu_falls_back_to_one_fixed_shape_before_it_goes_row_by_row() -> None:
    assert proven_shapes(encoding(by_size), GPU_SHAPES) == (512,)


class OtherBitsAtEight(ServingEncoder):
    """An encoder on a processor that treats eight rows otherwise."""

    def __call__(self, images: Floats) -> Floats:
        return by_size(super().__call__(images))


@pytest.mark.usefixtures("threads")
def test_answers_do_not_depend_on_batches_on_such_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.inference.models.ServingEncoder", OtherBitsAtEight)
    inference = Inference(random_checkpoint(), torch.device("cpu"))
    assert not inference.batched
    stamps = list(np.random.default_rng(1).normal(100, 20, (24, 3, 21, 21)).astype(np.float32))
    whole, parts = inference.encode(stamps), [inference.encode(stamps[start : start + 8]) for start in (0, 8, 16)]
    for all_at_once, piecemeal in zip(whole, zip(*parts, strict=True), strict=True):
        assert np.array_equal(np.concatenate(piecemeal), all_at_once)


@pytest.mark.usefixtures("threads")
def test_the_doctor_says_how_many_alerts_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    [finding] = doctor._batches(load_settings())
    assert (finding.state, finding.found) == ("ok", "up to 64 alerts at once, each answered as if alone")
    monkeypatch.setattr("consumer.inference.models.ServingEncoder", OtherBitsAtEight)
    [finding] = doctor._batches(load_settings())
    assert (finding.state, finding.found.split(":")[0]) == ("warn", "one alert at a time")
