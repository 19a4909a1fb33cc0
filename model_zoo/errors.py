"""What can be wrong with a model on disk."""


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged or of another architecture."""
