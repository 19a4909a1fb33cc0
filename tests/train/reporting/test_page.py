"""The report's page: text is text, whatever it holds, and nothing is fetched."""

from train.reporting.page import PageSection, Picture, page
from train.reporting.tables import TextTable

FACTS = {"title": "<script>alert(1)</script>", "subtitle": "a & b", "source": '"quoted"', "settings": "{}"}


def test_text_is_escaped_wherever_it_stands() -> None:
    table = TextTable("caption <b>", [("class", "F1 <i>"), ("AGN & SN", "0.5 < 0.6")])
    found = page(FACTS, [PageSection("<h1>", "text <u>", [table])])
    for tag in ("<script", "<b>", "<i>", "<u>"):
        assert tag not in found
    assert "AGN &amp; SN" in found
    assert "0.5 &lt; 0.6" in found


def test_pictures_are_inside_the_page_and_tables_come_before_them() -> None:
    parts = [Picture("curve", b"\x89PNG", 300, "below"), TextTable("above", [("a",), ("b",)])]
    found = page(FACTS, [PageSection("Both", "", parts)])
    assert 'width="300" src="data:image/png;base64,iVBORw=="' in found
    assert found.index("<caption>above") < found.index("<figcaption>below")
