"""What each command of `estampa` does: the one place that wires concrete sources, stores and sinks."""
