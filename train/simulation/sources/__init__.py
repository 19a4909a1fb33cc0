"""What raises alerts: supernovae, active nuclei, variable stars, asteroids and artefacts."""
