"""Dead letters: alerts that could not be classified, and which of them were recovered since."""
