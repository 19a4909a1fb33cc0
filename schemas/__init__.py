"""Avro schemas, filed by name and version."""
