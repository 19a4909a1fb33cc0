"""Torch modules, preprocessing and checkpoints. No Kafka and no Redis here: training and serving share it."""
