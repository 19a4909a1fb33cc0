"""Offline work: datasets, simulation, experiments, evaluation, figures."""
