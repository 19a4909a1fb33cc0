"""Kafka: the source of messages, the sink of results, offsets, transactions, and whole topics read back."""
