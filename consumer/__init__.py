"""The stream classifier: Kafka and archive sources, decode, stamps, inference, state, publishing."""
