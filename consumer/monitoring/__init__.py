"""Watching a run: metrics, health over HTTP, the report, the log."""
