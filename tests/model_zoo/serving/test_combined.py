import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.serving.combined import combined

ALERT = np.array([[0.9, 0.1], [0.9, 0.1], [1.0, 0.0]], np.float32)
SEQUENCE = np.array([[0.2, 0.8], [0.2, 0.8], [0.0, 1.0]], np.float32)


def test_a_first_alert_has_its_own_probabilities_and_later_ones_the_geometric_mean() -> None:
    answer = combined(ALERT, SEQUENCE, np.array([1, 2, 1]))
    roots = np.sqrt([0.9 * 0.2, 0.1 * 0.8])
    assert answer[0].tolist() == ALERT[0].tolist()
    assert answer[1] == pytest.approx(roots / roots.sum(), rel=1e-6)  # float32 of the inputs
    assert answer.dtype == np.float32


def test_heads_that_are_sure_of_different_classes_give_even_odds() -> None:
    assert combined(ALERT[2:], SEQUENCE[2:], np.array([5])).tolist() == [[0.5, 0.5]]


def test_no_alerts_give_no_answers() -> None:
    empty = np.empty((0, 5), np.float32)
    assert combined(empty, empty, np.empty(0, np.int64)).shape == (0, 5)


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_an_answer_does_not_depend_on_the_alerts_beside_it(rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    alert, sequence = (random.dirichlet(np.ones(5), rows).astype(np.float32) for _ in range(2))
    lengths = random.integers(1, 4, rows)
    together = combined(alert, sequence, lengths)
    alone = [combined(alert[[row]], sequence[[row]], lengths[[row]])[0] for row in range(rows)]
    assert together.tobytes() == np.array(alone).tobytes()
    assert together.sum(axis=1) == pytest.approx(1, abs=1e-6)
