from pathlib import Path

import pytest

from consumer.cli.runtime import load_inference
from consumer.configuration.load import load_settings
from consumer.embedded import local_store
from tests.support.line import state
from tests.system.identity import compare, simulated


@pytest.mark.slow
def test_the_fast_path_gives_what_the_slow_one_gives_on_real_and_simulated_nights(
    real_alerts: Path, tmp_path: Path
) -> None:
    """`make identity` does it over 100,000."""
    settings = load_settings(overrides={"limits": {"dead_letter_ratio": 1.0, "dead_letter_run": 100_000}})
    inference = load_inference(settings.model)
    with local_store() as quick, local_store() as careful:
        real = compare(settings, inference, [real_alerts], (quick, careful))
        nights = sum(
            compare(settings, inference, [night], (quick, careful))
            for night in simulated(tmp_path, nights=2, alerts=500)
        )
        assert (real > 1_000, nights) == (True, 1_000)
        assert state(quick) == state(careful)
