"""The twin of the store keeps the contract of the real one."""

import pytest

from tests.support.store_contract import FACTS, LATENT, Fact, check_that_a_loss_is_noticed
from tests.support.twins import Data, MemoryStore


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.__name__)
def test_the_stores_twin_keeps_its_contract(fact: Fact) -> None:
    data = Data()
    fact(lambda **options: MemoryStore(LATENT, data=data, **options))


def test_the_stores_twin_notices_a_loss() -> None:
    data = Data()
    check_that_a_loss_is_noticed(lambda: MemoryStore(LATENT, data=data), data.applied.clear)
