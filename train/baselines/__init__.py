"""The experiments of the two student projects, from data to report, by both protocols."""
