"""The commands of `estampa`: their options, what each does, and the wiring of sources, stores and sinks."""
