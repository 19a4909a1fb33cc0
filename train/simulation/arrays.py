"""Names for the array types that pass between the modules of the simulation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Pixels = NDArray[np.float32]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Complexes = NDArray[np.complex64]
Columns = dict[str, NDArray[Any]]
