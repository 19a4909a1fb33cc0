"""The hot files, and the tests near each: what is fast first, for the first failure ends a trial."""

from collections.abc import Mapping
from typing import Final

NEAR: Final[Mapping[str, str]] = {
    "consumer/alert.py": "consumer/test_alert",
    "consumer/container.py": "consumer/test_container consumer/test_packet",
    "consumer/deadletter.py": "consumer/test_deadletter consumer/test_output",
    "consumer/history.py": "consumer/test_history",
    "consumer/inference.py": "consumer/test_inference",
    "consumer/journal.py": "consumer/test_journal consumer/test_output",
    "consumer/kafka.py": "consumer/test_offsets consumer/test_kafka consumer/test_transaction",
    "consumer/kernels.py": "consumer/test_kernels consumer/test_packet consumer/test_stamps",
    "consumer/metrics.py": "consumer/test_metrics consumer/test_pipeline",
    "consumer/output.py": "consumer/test_output",
    "consumer/packet.py": "consumer/test_packet consumer/test_alert",
    "consumer/pipeline.py": "consumer/test_pipeline consumer/test_pipeline_bad_input consumer/test_metrics",
    "consumer/positions.py": "consumer/test_offsets consumer/test_kafka",
    "consumer/program.py": "consumer/test_packet consumer/test_projection consumer/test_kernels",
    "consumer/publish.py": "consumer/test_publish_encoder consumer/test_publish consumer/test_kafka",
    "consumer/stamps.py": "consumer/test_stamps",
    "consumer/state.py": "consumer/test_history consumer/test_state",
    "consumer/transaction.py": "consumer/test_transaction",
    "model_zoo/checkpoint.py": "model_zoo/test_checkpoint",
    "model_zoo/encoder.py": "model_zoo/test_encoder",
    "model_zoo/metadata.py": "model_zoo/test_metadata",
    "model_zoo/mlp.py": "model_zoo/test_mlp",
    "model_zoo/preprocess.py": "model_zoo/test_preprocess model_zoo/test_encoder_input",
    "model_zoo/recurrent.py": "model_zoo/test_recurrent",
    "train/evaluate.py": "train/test_evaluate",
    "train/loop.py": "train/test_loop",
    "train/nested.py": "train/test_nested",
    "train/probe.py": "train/test_probe",
    "train/scoring.py": "train/test_scoring",
}
"""Source file → its near test files, under `tests/` and without their suffix."""


def near_tests(file: str) -> list[str]:
    return [f"tests/{name}.py" for name in NEAR[file].split()]
