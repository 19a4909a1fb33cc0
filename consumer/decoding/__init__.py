"""Packet → alert → stamps: Avro containers and schemas, the compiled walk, FITS images."""
