"""What a command shows holds foreign text: it is never markup, never a control code, and always printable."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from consumer.errors import BadAlert, OutputError, Reason, shortened
from consumer.terminal import prepare_streams, printable, show, table, write


def drawn(name: str) -> str:
    out = io.StringIO()
    made = table(f"title {name}", ["name", "class"], [(name, Text("SN", "green"))])
    Console(file=out, width=200, color_system=None).print(made)
    return out.getvalue()


@pytest.mark.parametrize("name", ["[/b]", "[bold]x[/bold]", "[link=http://x]y[/link]", ":smile:", "<script>"])
def test_names_are_text_and_never_markup(name: str) -> None:
    assert drawn(name).count(name) == 2


def test_control_codes_of_a_name_are_spelled_out() -> None:
    shown = drawn("ZTF\x1b[2J\x07\nx")
    assert "\x1b" not in shown
    assert r"ZTF\x1b[2J\x07\nx" in shown
    assert printable("a\u202eb") == r"a\u202eb"
    assert printable("é×") == "é×"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_text_that_a_terminal_has_no_letters_for_is_spelled_out(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
    prepare_streams()
    sys.stdout.write("65×65 → \u0142")
    sys.stdout.flush()
    assert raw.getvalue().decode(encoding).endswith(r"\u0142")


@pytest.mark.parametrize("print_", [write, show])
def test_a_stdout_that_is_full_is_one_error(print_: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(OutputError, match="stdout cannot be written: No space left on device"):
            print_("x" * 100_000)
        monkeypatch.undo()


def test_an_explanation_of_megabytes_is_cut_in_its_middle_and_says_so() -> None:
    text = shortened("a" * 9_000_000, 300)
    assert len(text) < 350
    assert "characters left out" in text
    assert shortened("short", 300) == "short"
    assert len(str(BadAlert(Reason.WRONG_SCHEMA, "b" * 9_000_000))) < 3000


def test_text_in_brackets_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show("[bold]ZTF26aaaaaaa[/bold] :star:")
    assert capsys.readouterr().out == "[bold]ZTF26aaaaaaa[/bold] :star:\n"
