"""What is told of a run: metrics, health over HTTP, the report, the log."""
