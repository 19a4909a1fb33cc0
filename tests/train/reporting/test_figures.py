"""The pictures of a run."""

import numpy as np
import pytest
import torch

from train.reporting.figures import calibration, projection


@pytest.mark.filterwarnings("ignore")  # of umap and numba, on import
def test_a_projection_leaves_torch_its_threads() -> None:
    """The next variant of an experiment must train to the same bits whether or not this one was drawn."""
    before = torch.get_num_threads()
    draw = np.random.default_rng(0)
    projection(draw.random((60, 8)), np.arange(60) % 3, ("star", "galaxy", "bogus"), "Latents")
    assert torch.get_num_threads() == before


def test_a_calibration_shows_how_often_it_is_right_over_how_sure_it_is() -> None:
    """Two bins: of the answers at 0.95 six in ten are right, of those at 0.65 all are."""
    label = np.zeros(15, int)
    sure = np.array([0.95] * 10 + [0.65] * 5)
    probability = np.stack([sure, 1 - sure], axis=1)
    probability[:4] = probability[:4, ::-1]
    [axes] = calibration(label, probability, 0.25).axes
    diagonal, curve = axes.lines
    assert (list(diagonal.get_xdata()), list(diagonal.get_ydata())) == ([0, 1], [0, 1])
    assert list(curve.get_xdata()) == pytest.approx([0.65, 0.95])
    assert list(curve.get_ydata()) == pytest.approx([1.0, 0.6])
    [points] = axes.collections
    np.testing.assert_allclose(points.get_offsets(), [(0.65, 1.0), (0.95, 0.6)])
    assert points.get_sizes()[1] / points.get_sizes()[0] == pytest.approx(2)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("largest probability", "share that is right")
    assert "0.250" in axes.get_title()
