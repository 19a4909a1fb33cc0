"""A night of alerts: planned, drawn, sent somewhere, with its truth."""
