"""Archived nights: read as a source of messages, and the files that a replay writes its results to."""
