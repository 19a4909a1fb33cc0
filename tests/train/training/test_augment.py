import hashlib

import numpy as np
import pytest
import torch

from train.training.augment import COPIES, Copies, random_views, view
from train.training.loop import batches


def offline(stamps: np.ndarray) -> np.ndarray:
    """Seed 001's copies as it wrote them: (N, 6, C, S, S)."""
    turned = [np.rot90(stamps, quarter, (2, 3)) for quarter in range(4)]
    return np.stack([*turned, stamps[..., ::-1], stamps[..., ::-1, :]], axis=1)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_an_epoch_holds_just_the_copies_that_the_seed_wrote() -> None:
    stamps = torch.rand(7, 2, 21, 21, generator=generator())
    copies = Copies(stamps, "views", generator())
    assert len(copies) == 7 * COPIES["views"]
    made, rows = copies.take(torch.arange(len(copies)))
    np.testing.assert_array_equal(made.view(7, 6, 2, 21, 21), offline(stamps.numpy()))
    assert rows.tolist() == [row for row in range(7) for _ in range(6)]


def test_the_seventh_copy_shuffles_whole_tiles_and_is_the_same_each_time() -> None:
    stamps = torch.arange(5 * 441, dtype=torch.float32).view(5, 1, 21, 21)
    copies = Copies(stamps, "tiles", generator())
    which = torch.arange(5) * 7 + 6
    first, second = copies.take(which)[0], copies.take(which)[0]
    assert torch.equal(first, second)
    assert not torch.equal(first, stamps)

    def tiles(stamp: torch.Tensor) -> set[tuple[float, ...]]:
        parts = stamp.view(3, 7, 3, 7).transpose(1, 2).reshape(9, 49)
        return {tuple(part.tolist()) for part in parts}

    assert all(tiles(first[row]) == tiles(stamps[row]) for row in range(5))


def test_tiles_need_a_side_of_three_times_something() -> None:
    with pytest.raises(ValueError, match="28 pixels has no 3×3 tiles"):
        Copies(torch.zeros(1, 2, 28, 28), "tiles", generator())


def test_sequences_are_turned_as_one() -> None:
    stamps = torch.rand(2, 5, 3, 9, 9, generator=generator())
    made, _ = Copies(stamps, "views", generator()).take(torch.tensor([1]))
    assert torch.equal(made[0], stamps[0].rot90(1, (2, 3)))


def test_the_eight_views_are_all_different_and_equally_likely() -> None:
    stamp = torch.rand(1, 1, 5, 5, generator=generator())
    views = [view(stamp, one) for one in range(8)]
    drawn = random_views(stamp.expand(4000, -1, -1, -1), generator())
    shares = [sum(torch.equal(one, seen[None]) for seen in drawn) / 4000 for one in views]
    assert sum(shares) == pytest.approx(1)
    assert shares == pytest.approx([0.125] * 8, abs=0.02)


@pytest.mark.parametrize(
    ("augmentation", "golden"),
    [("none", "5438d94c59643aa4"), ("views", "db308b9ce6339450"), ("tiles", "4d5637c9811a9d8d")],
)
def test_the_sequence_of_augmented_images_is_pinned(augmentation: str, golden: str) -> None:
    """The order of an epoch's examples and the pixels of each: a change of either shows here."""
    draw = generator()
    stamps = torch.arange(4 * 2 * 81, dtype=torch.float32).view(4, 2, 9, 9)
    copies = Copies(stamps, augmentation, draw)
    seen = torch.cat([copies.take(which)[0] for which in batches(len(copies), 5, draw)])
    assert hashlib.sha256(seen.contiguous().numpy().tobytes()).hexdigest()[:16] == golden


@pytest.mark.parametrize("augmentation", ["none", "views", "tiles"])
def test_an_epoch_sees_every_stamp_as_often_as_the_seeds_wrote_it(augmentation: str) -> None:
    """The same sum over an epoch, pixel by pixel, as over copies written beforehand: only the order is drawn."""
    draw = generator()
    stamps = torch.rand(11, 2, 9, 9, generator=draw)
    copies = Copies(stamps, augmentation, draw)
    written = copies.take(torch.arange(len(copies)))
    parts = [copies.take(which) for which in batches(len(copies), 5, draw)]
    rows = torch.cat([rows for _, rows in parts])
    assert torch.bincount(rows).tolist() == [COPIES[augmentation]] * 11
    torch.testing.assert_close(torch.cat([seen for seen, _ in parts]).sum(0), written[0].sum(0))
