"""Tables of text as Markdown."""

from train.reporting.tables import TextTable, length_table

ROWS = [("head", "on", "F1"), ("sequence", "every alert", "0.5")]


def test_markdown_sets_the_columns_of_numbers_to_the_right() -> None:
    lines = TextTable("caption", ROWS, texts=2).markdown().splitlines()
    assert lines == ["| head | on | F1 |", "|---|---|--:|", "| sequence | every alert | 0.5 |"]
    assert TextTable("caption", ROWS).markdown().splitlines()[1] == "|---|--:|--:|"


def test_scores_by_length_are_a_column_a_classifier_and_a_row_a_length() -> None:
    found = {"1": {"objects": 1200.0, "recurrent": 0.5, "mean": 0.25}, "2": {"objects": 3.0, "recurrent": 1, "mean": 0}}
    assert length_table("", found).rows == [
        ("alerts", "objects", "recurrent", "mean"),
        ("1", "1,200", "0.500", "0.250"),
        ("2", "3", "1.000", "0.000"),
    ]
