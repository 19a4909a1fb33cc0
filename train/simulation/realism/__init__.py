"""How real the simulated alerts are."""
