"""README's table, written from the last benchmark: `python -m tests.bench.table`."""

import json

from tests.bench.__main__ import RESULTS
from tests.conftest import ROOT

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"


def table() -> str:
    """The rows of `results.json` as Markdown."""
    run = json.loads(RESULTS.read_text(encoding="utf-8"))
    lines = ["| what | measured | target |", "|---|--:|--:|"]
    lines += [f"| {row['what']} | {row['value']:,.4g} {row['unit']} | {row.get('target', '')} |" for row in run["rows"]]
    return "\n".join([*lines, "", f"`make bench`, {run['machine']}, {run['date']}, commit {run['commit']}."])


def main() -> None:
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    readme.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
