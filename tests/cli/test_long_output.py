"""What is printed of long lists: the same as of short ones, a part at a time."""

from __future__ import annotations

import pytest

from cli import output
from cli.output import Format, Output, Table, csv_of, show, text_of

UUIDS = [f"device-{number:05}" for number in range(25_000)]
LONG = Output({"uuids": UUIDS}, [Table(["uuid", "name"], [(uuid, None) for uuid in UUIDS])], ["25,000 devices"])


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is handed to stdout, piece by piece."""
    made: list[str] = []
    monkeypatch.setattr(output, "put", lambda data, nl=True: made.append(data + ("\n" if nl else "")))
    return made


def test_a_long_table(parts: list[str]) -> None:
    """Under headings, as wide as its widest cell; never all of it at once."""
    show(LONG, Format.TABLE)

    assert "".join(parts) == text_of(LONG.lines, LONG.tables) + "\n"
    assert "".join(parts).splitlines()[:4] == ["25,000 devices", "", "UUID          NAME", "device-00000  -"]
    assert len(parts) == 3


def test_a_long_csv(parts: list[str]) -> None:
    """With one line of headings."""
    show(LONG, Format.CSV)

    assert "".join(parts) == csv_of(LONG.tables[0]) == "uuid,name\n" + "".join(f"{uuid},\n" for uuid in UUIDS)
    assert len(parts) == 3


@pytest.mark.parametrize(
    ("lines", "tables", "text"),
    [
        ([], [], ""),
        (["a", "b"], [], "a\nb"),
        ([], [Table(["x"], [])], "X"),
        (["a"], [Table(["x"], [("1",)], "Title"), Table.of_facts([("k", "v"), ("long", None)])],
         "a\n\nTitle\nX\n1\n\nk     v\nlong  -"),
        ([], [Table.of_facts([]), Table(["x"], [])], "X"),
    ],
)  # fmt: skip
def test_what_stands_between_tables(lines: list[str], tables: list[Table], text: str) -> None:
    """An empty line, and none at the beginning."""
    assert text_of(lines, tables) == text
