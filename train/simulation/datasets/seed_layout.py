"""The layouts of the seed projects' five pickles, quirks included."""

from dataclasses import dataclass

SCIENCE, TEMPLATE, DIFFERENCE = 0, 1, 2
THREE_CLASSES = ("AGN", "SN", "VS")
# Distinct training objects by class. They sum to the 50,594 names of `stamp_dataset_21_new`; the commonest class has
# the 14,542 rows to which the others are filled up; the rest is ALeRCE's set less validation and test.
DISTINCT = {"AGN": 14_370, "SN": 1_420, "VS": 14_542, "asteroid": 9_699, "bogus": 10_563}
HELD_OUT = 100


@dataclass(frozen=True, slots=True)
class AlertLayout:
    """A pickle of single alerts: side in pixels, order of the channels, key and kind of its labels.

    `named`: labels are class names. `float_train`: labels are floats in train, integers in the others.
    """

    side: int
    channels: tuple[int, int, int]
    label_key: str
    named: bool = False
    float_train: bool = False
    oid: bool = True


@dataclass(frozen=True, slots=True)
class SequenceLayout:
    """A pickle of sequences: side in pixels, alerts an object, objects by class; held out a class, 0 for no split."""

    side: int
    length: int
    objects: dict[str, int]
    held_out: int = 0


LAYOUTS: dict[str, AlertLayout | SequenceLayout] = {
    "stamp_dataset_21_new": AlertLayout(21, (DIFFERENCE, SCIENCE, TEMPLATE), "class", float_train=True),
    "stamp_dataset_28": AlertLayout(28, (DIFFERENCE, SCIENCE, TEMPLATE), "labels", named=True),
    "td_ztf_stamp_17_06_20": AlertLayout(63, (SCIENCE, TEMPLATE, DIFFERENCE), "labels", oid=False),
    "5stamps_dataset": SequenceLayout(21, 5, {"AGN": 28_092, "SN": 1_516, "VS": 93_619}, held_out=200),
    "recurrent_dataset": SequenceLayout(27, 3, {"AGN": 17_587, "SN": 949, "VS": 58_610}),
}


def layout(name: str) -> AlertLayout | SequenceLayout:
    """The layout of a name, with or without its suffix. Raises ValueError naming those there are."""
    stem = name.removesuffix(".pkl").removesuffix(".pk")
    if stem not in LAYOUTS:
        raise ValueError(f"no data set is like {name!r}: choose from {', '.join(LAYOUTS)}")
    return LAYOUTS[stem]


def scaled(count: int, scale: float) -> int:
    """A count at a scale, at least 2: no class is empty."""
    return max(2, round(count * scale))
