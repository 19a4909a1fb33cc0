"""The commands of `estampa-train`."""
