"""What each setting of an experiment may be, and which kinds of model read it."""

import sys
from typing import Final

RECONSTRUCTING: Final = ("autoencoder", "vae", "reconstructor")
RECONSTRUCTION: Final = ("mse", "rmse")
CLASSIFICATION: Final = ("crossentropy", "entropy")
LOSSES: Final = {
    "autoencoder": RECONSTRUCTION,
    "vae": RECONSTRUCTION,
    "reconstructor": RECONSTRUCTION,
    "classifier": CLASSIFICATION,
    "alerce": CLASSIFICATION,
    "sequence": CLASSIFICATION,
    "serve": (*RECONSTRUCTION, *CLASSIFICATION),
}
"""Losses that a kind of model can learn by; the served model has its own, and does not look."""

SIDES: Final = {"reconstructor": 21, "classifier": 21, "alerce": 21}
"""Side of the cut, pixels, of the models whose linear layers fit one size only."""

PRETRAINABLE: Final = ("classifier", "sequence")
CHOICES: Final = {
    "kind": tuple(LOSSES),
    "cell": ("rnn", "lstm", "gru"),
    "augmentation": ("none", "views", "tiles"),
    "keeps": ("last", "best"),
}
MOST: Final = sys.float_info.max
BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "size": (1, 63),
    "latent": (1, MOST),
    "batch": (1, MOST),
    "epochs": (1, MOST),
    "patience": (1, MOST),
    "probe_epochs": (1, MOST),
    "probe_batch": (1, MOST),
    "seeds": (1, 1000),
    "rate": (1e-12, MOST),
    "probe_rate": (1e-12, MOST),
    "decay": (0, MOST),
    "pretrained": (0, MOST),
    "pretrained_rate": (1e-12, MOST),
    "rows": (0, MOST),
    "seed": (0, 2**31 - 1),  # what every generator takes
    "teachers": (0, MOST),
    "simulated": (0, 1),
    "steps": (1, MOST),
    "head_steps": (1, MOST),
    "folds": (3, MOST),  # one to score, one to choose by, one to learn from
    "search": (0, MOST),
}
"""Lowest and highest value of every setting that is a number; neither NaN nor infinity is any."""

_BY_EPOCHS: Final = tuple(kind for kind in LOSSES if kind != "serve")
_CLASSIFYING: Final = ("classifier", "alerce", "sequence")
READ_BY: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("augmentation", "batch", "compiled", "decay", "epochs", "keeps", "loss", "mixed"), _BY_EPOCHS),
    **dict.fromkeys(("patience", "rate", "rows", "seeds"), _BY_EPOCHS),
    **dict.fromkeys(("probe_batch", "probe_epochs", "probe_rate"), RECONSTRUCTING),
    **dict.fromkeys(("balanced", "weighted"), _CLASSIFYING),
    **dict.fromkeys(("pretrained", "pretrained_rate"), PRETRAINABLE),
    **dict.fromkeys(("cell", "staged"), ("sequence",)),
    **dict.fromkeys(("folds", "head_steps", "search", "simulated", "steps", "teachers"), ("serve",)),
    "frozen": _CLASSIFYING,
    "metadata": ("alerce", "serve"),
    "sigmoid": ("reconstructor", "classifier"),
}
"""Which kinds read a setting; all do that is not here."""
