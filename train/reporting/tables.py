"""Tables of text: as Markdown and as HTML; and those that several reports have."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.training.scores import per_class


@dataclass(frozen=True, slots=True)
class TextTable:
    """caption: above it, in HTML. rows: of text, the first is the head.

    texts: how many of the first columns hold text; the others hold numbers, and Markdown sets them to the right.
    """

    caption: str
    rows: Sequence[Sequence[str]]
    texts: int = 1

    def markdown(self) -> str:
        """Lines without a last newline, and without the caption."""
        head, *body = self.rows
        rule = ["---"] * self.texts + ["--:"] * (len(head) - self.texts)
        lines = [f"| {' | '.join(row)} |" for row in (head, *body)]
        return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]])

    def html(self) -> str:
        """A `<table>`; every text is escaped."""
        head, *body = self.rows
        lines = [f"<tr>{_cells(head, 'th')}</tr>", *(f"<tr>{_cells(row, 'td')}</tr>" for row in body)]
        return f"<table><caption>{html.escape(self.caption)}</caption>{''.join(lines)}</table>"


def _cells(row: Sequence[str], tag: str) -> str:
    return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)


def class_rows(
    label: NDArray[np.int64], probability: NDArray[np.float64], classes: Sequence[str], counted: str
) -> list[tuple[str, ...]]:
    """Precision, recall and F1 of each class in %, and how many `counted` it has; the first row is the head."""
    table = per_class(label, probability)
    rows = [
        (name, *(f"{100 * value:.1f}" for value in table[place, :3]), f"{table[place, 3]:.0f}")
        for place, name in enumerate(classes)
    ]
    return [("", "precision", "recall", "F1", counted), *rows]


def length_table(caption: str, found: Mapping[str, Mapping[str, float]]) -> TextTable:
    """Scores by number of alerts, as `f1_by_length` gives them."""
    head = ("alerts", *next(iter(found.values())))
    rows = [
        (length, f"{row['objects']:,.0f}", *(f"{value:.3f}" for name, value in row.items() if name != "objects"))
        for length, row in found.items()
    ]
    return TextTable(caption, [head, *rows], texts=0)
