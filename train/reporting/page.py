"""`report.html`: one file that holds a run's tables and pictures, and asks nothing of the network."""

import base64
import html
import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from train.files import write_text
from train.reporting.tables import TextTable

REPORT: Final = "report.html"
PIXELS_A_POINT: Final = 1.5
"""Pictures hold so many pixels for each of the page's, so that they are sharp on a fine screen."""

STYLE: Final = """
:root { --line: #ddd; --soft: #666 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { margin-bottom: 0 } h2 { margin-top: 2.2rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem }
p { max-width: 46rem } p.soft, figcaption { color: var(--soft); font-size: .9em }
table { border-collapse: collapse; margin: 1rem 0; font-size: .95em }
caption { text-align: left; font-weight: 600; padding: .3rem 0; white-space: nowrap } th { font-weight: 600 }
td, th { padding: .2rem .8rem; border-bottom: 1px solid var(--line) }
td:not(:first-child), th:not(:first-child) { text-align: right; font-variant-numeric: tabular-nums }
td:first-child, th:first-child { text-align: left; padding-left: 0 }
.source { background: #fff3d6; border-left: 4px solid #e0a800; padding: .5rem 1rem; max-width: none }
.row { display: flex; flex-wrap: wrap; gap: .6rem 1.6rem; align-items: flex-start }
figure { margin: .5rem 0 } img { max-width: 100%; height: auto }
pre { background: #f6f6f6; padding: 1rem; overflow: auto; font-size: .85em } summary { cursor: pointer }
"""

PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>{style}</style>
<h1>{title}</h1><p class="soft">{subtitle}</p><p class="source">{source}</p>
{sections}
<h2>Settings</h2><details><summary>config.json</summary><pre>{settings}</pre></details></html>
"""


@dataclass(frozen=True, slots=True)
class Picture:
    """name: of its file. png: its bytes, `PIXELS_A_POINT` as large as shown. width: shown, pixels. caption: below."""

    name: str
    png: bytes
    width: int
    caption: str = ""


@dataclass(frozen=True, slots=True)
class PageSection:
    """A heading, a line of explanation, and what stands below it: tables side by side, then pictures."""

    title: str
    text: str
    parts: Sequence[TextTable | Picture]


def picture(name: str, figure: Figure, caption: str = "") -> Picture:
    """A figure as a picture of the page."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100 * PIXELS_A_POINT)
    png = stream.getvalue()
    (width,) = struct.unpack(">I", png[16:20])  # of a PNG's header
    return Picture(name, png, round(width / PIXELS_A_POINT), caption)


def write_page(folder: Path, facts: Mapping[str, str], sections: Sequence[PageSection]) -> None:
    """Write the page into `folder`, and its pictures beside it as figures/*.png."""
    (folder / "figures").mkdir(exist_ok=True)
    for part in [part for section in sections for part in section.parts if isinstance(part, Picture)]:
        (folder / "figures" / f"{part.name}.png").write_bytes(part.png)
    write_text(folder / REPORT, page(facts, sections))


def page(facts: Mapping[str, str], sections: Sequence[PageSection]) -> str:
    """The whole page. facts: its title, subtitle, source and settings, as plain text."""
    plain = {name: html.escape(text) for name, text in facts.items()}
    return PAGE.format(style=STYLE, sections="\n".join(map(_section, sections)), **plain)


def _section(section: PageSection) -> str:
    tables = "".join(part.html() for part in section.parts if isinstance(part, TextTable))
    pictures = "".join(_picture(part) for part in section.parts if isinstance(part, Picture))
    head = f"<h2>{html.escape(section.title)}</h2><p>{html.escape(section.text)}</p>"
    return f'{head}<div class="row">{tables}</div><div class="row">{pictures}</div>'


def _picture(picture: Picture) -> str:
    encoded = base64.b64encode(picture.png).decode()
    image = f'<img alt="{html.escape(picture.name)}" width="{picture.width}" src="data:image/png;base64,{encoded}">'
    return f"<figure>{image}<figcaption>{html.escape(picture.caption)}</figcaption></figure>"
