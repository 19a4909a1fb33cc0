"""What a training refuses."""


class TrainingError(RuntimeError):
    """A training that cannot go on: its loss is no number, or its folder cannot be written or read."""
