"""The pictures of a run."""

import numpy as np
import pytest
import torch

from train.reporting import figures


@pytest.mark.filterwarnings("ignore")  # of umap and numba, on import
def test_a_projection_leaves_torch_its_threads() -> None:
    """The next variant of an experiment must train to the same bits whether or not this one was drawn."""
    before = torch.get_num_threads()
    draw = np.random.default_rng(0)
    figures.projection(draw.random((60, 8)), np.arange(60) % 3, ("star", "galaxy", "bogus"), "Latents")
    assert torch.get_num_threads() == before
