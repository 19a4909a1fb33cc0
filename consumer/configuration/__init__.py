"""The configuration: settings, where they come from, and what is checked before anything starts."""
