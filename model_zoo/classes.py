"""The classes, in the order that every label, logit and probability of estampa keeps."""

from typing import Final

CLASSES: Final = ("AGN", "SN", "VS", "asteroid", "bogus")
"""ALeRCE's stamp-classifier taxonomy: 0 active nucleus, 1 supernova, 2 variable star, 3 asteroid, 4 artefact."""

BAND_NAMES: Final = {1: "g", 2: "r", 3: "i"}
"""ZTF filter id → band."""
BANDS: Final = tuple(BAND_NAMES)
