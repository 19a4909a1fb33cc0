"""The hot files, and the tests near each: what is fast first, for the first failure ends a trial."""

from collections.abc import Mapping
from typing import Final

NEAR: Final[Mapping[str, str]] = {
    "consumer/decoding/alert.py": "consumer/decoding/test_alert consumer/decoding/test_hostile",
    "consumer/decoding/container.py": "consumer/decoding/test_container consumer/decoding/test_packet",
    "consumer/deadletters/dead_letter.py": "consumer/deadletters/test_dead_letter consumer/archive/test_sink",
    "consumer/store/sequences.py": "consumer/store/test_sequences",
    "consumer/inference/models.py": "consumer/inference/test_models",
    "consumer/archive/journal.py": "consumer/archive/test_journal consumer/archive/test_sink",
    "consumer/kafka/source.py": "consumer/kafka/test_offsets "
    "consumer/kafka/test_source consumer/kafka/test_transaction",
    "consumer/decoding/kernels.py": "consumer/decoding/test_kernels "
    "consumer/decoding/test_packet consumer/decoding/test_stamps",
    "consumer/metrics.py": "consumer/monitoring/test_metrics consumer/test_pipeline",
    "consumer/archive/sink.py": "consumer/archive/test_sink",
    "consumer/decoding/packet.py": "consumer/decoding/test_packet consumer/decoding/test_alert "
    "consumer/decoding/test_hostile",
    "consumer/decode_stage.py": "consumer/test_decode_stage consumer/test_pipeline consumer/test_pipeline_bad_input "
    "consumer/test_stop",
    "consumer/pipeline.py": "consumer/test_pipeline consumer/test_recent_candids consumer/monitoring/test_metrics",
    "consumer/kafka/offsets.py": "consumer/kafka/test_offsets consumer/kafka/test_source",
    "consumer/decoding/compiler.py": "consumer/decoding/test_packet "
    "consumer/decoding/test_projection consumer/decoding/test_kernels",
    "consumer/kafka/sink.py": "consumer/kafka/test_publish_encoder consumer/kafka/test_sink "
    "consumer/kafka/test_large_letters consumer/kafka/test_source",
    "consumer/decoding/stamps.py": "consumer/decoding/test_stamps",
    "consumer/store/redis_store.py": "consumer/store/test_sequences consumer/store/test_redis_store",
    "consumer/kafka/transaction.py": "consumer/kafka/test_transaction",
    "model_zoo/checkpoint.py": "model_zoo/test_checkpoint",
    "model_zoo/classifier/encoder.py": "model_zoo/classifier/test_encoder",
    "model_zoo/metadata.py": "model_zoo/test_metadata",
    "model_zoo/classifier/mlp.py": "model_zoo/classifier/test_mlp",
    "model_zoo/preprocess.py": "model_zoo/test_preprocess model_zoo/test_encoder_input",
    "model_zoo/classifier/recurrent.py": "model_zoo/classifier/test_recurrent",
    "train/training/scores.py": "train/training/test_scores",
    "train/training/loop.py": "train/training/test_loop",
    "train/serving/model_selection.py": "train/serving/test_model_selection train/serving/test_run",
    "train/training/probe.py": "train/training/test_probe",
    "train/serving/evaluate.py": "train/serving/test_evaluate",
}
"""Source file → its near test files, under `tests/` and without their suffix."""


def near_tests(file: str) -> list[str]:
    return [f"tests/{name}.py" for name in NEAR[file].split()]
