"""Avro packets as ZTF writes them, with fields that agree with the images."""
