from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.formats.errors import BadEncoding, BadUuidInList, EmptyUuidList, FileMissing
from cli.formats.uuids import read_many, read_uuids
from ledger.domain.errors import LedgerError
from ledger.domain.values import BadUuid


def refusal(data: bytes) -> LedgerError | None:
    try:
        read_uuids("-", io.BytesIO(data))
    except LedgerError as problem:
        return problem
    return None


@pytest.mark.parametrize("text", ["a,b,c", "a;b|c", " a\tb\n c ", ",,a;;b||c,\r\n", "a,b,a,c,b"])
def test_separators(text: str, tmp_path: Path) -> None:
    """Any separator will do, empty entries and duplicates are dropped: in an argument, a file and standard input."""
    file = tmp_path / "uuids.txt"
    file.write_text("\ufeff" + text, encoding="utf-8")

    assert read_uuids(text) == ["a", "b", "c"]
    assert read_uuids(f"@{file}") == ["a", "b", "c"]
    assert read_uuids("-", io.BytesIO(text.encode())) == ["a", "b", "c"]
    assert read_uuids("@-", io.BytesIO(text.encode())) == ["a", "b", "c"]


def test_many(tmp_path: Path) -> None:
    """Arguments and files mix; the order is that of first mention."""
    file = tmp_path / "uuids.txt"
    file.write_text("d\nb\n", encoding="utf-8")

    assert read_many(["a,b", "", f"@{file}", "c", "a"]) == ["a", "b", "d", "c"]


@pytest.mark.parametrize("text", ["", " ", ",;|\n"])
def test_empty(text: str, tmp_path: Path) -> None:
    """A list without a uuid is refused and never means all, also when it is one of several."""
    file = tmp_path / "uuids.txt"
    file.write_text(text, encoding="utf-8")

    for value in (text, f"@{file}"):
        with pytest.raises(EmptyUuidList) as caught:
            read_uuids(value)
        assert caught.value.exit_code == 3
        assert "never widened" in caught.value.render_hint()
    with pytest.raises(EmptyUuidList, match=r"uuids\.txt"):
        read_many(["a", f"@{file}"])
    with pytest.raises(EmptyUuidList):
        read_many([])


def test_bad_uuid(tmp_path: Path) -> None:
    """A uuid that is too long or not ASCII is refused; in a file with its line; long ones are cropped."""
    file = tmp_path / "uuids.txt"
    file.write_text("a\nb," + "x" * 10_000, encoding="utf-8")

    assert read_uuids("x" * 60) == ["x" * 60]
    for value in ("x" * 61, "a,\u00fc", "\udcff"):
        with pytest.raises(BadUuid):
            read_uuids(value)
    with pytest.raises(BadUuidInList, match=r"uuids\.txt, line 2: device uuid 'x") as caught:
        read_uuids(f"@{file}")
    assert len(str(caught.value)) < 300 + len(str(file))


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file is exit 4; other encodings and what is no uuid for long are refused."""
    with pytest.raises(FileMissing) as caught:
        read_uuids(f"@{tmp_path / 'nope'}")
    assert caught.value.exit_code == 4

    with pytest.raises(BadEncoding, match="UTF-16"):
        read_uuids("-", io.BytesIO("a,b".encode("utf-16")))
    stream = io.BytesIO(b"a" * 10_000_000)
    with pytest.raises(BadUuidInList):
        read_uuids("-", stream)
    assert stream.tell() < 2_000_000  # it was not waited for the end of what can't be a uuid


def test_a_huge_line_that_is_no_list(tmp_path: Path) -> None:
    """A file of 100 MB without a separator is refused after its first piece."""
    file = tmp_path / "long.txt"
    with file.open("wb") as sparse:
        sparse.truncate(100_000_000)

    with pytest.raises(BadEncoding, match="NUL"):
        read_uuids(f"@{file}")


@pytest.mark.parametrize("separator", [",", "\n", " | ", "\r\n"])
def test_files_of_any_length(separator: str) -> None:
    """A list of several pieces is read whole, wherever they are cut, and a bad entry is found in its line."""
    uuids = [f"device-{number:027}" for number in range(100_000)]
    listed = separator.join(uuids)

    assert read_uuids("-", io.BytesIO(listed.encode())) == uuids
    line = listed.count("\n") + 1
    with pytest.raises(BadUuidInList, match=rf"line {line}:"):
        read_uuids("-", io.BytesIO(f"{listed}{separator.replace(chr(10), ' ')}{'x' * 1000}".encode()))


@given(
    st.lists(st.text([c for c in map(chr, range(33, 127)) if c not in ",;|"], min_size=1, max_size=60), min_size=1),
    st.text(",;| \t\r\n", min_size=1, max_size=3),
)
def test_round_trip(uuids: list[str], separator: str) -> None:
    """Uuids joined by any separators are read back, each once."""
    assert list(dict.fromkeys(uuids)) == read_uuids("-", io.BytesIO(separator.join(uuids).encode()))


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Whatever bytes come, the answer is uuids or an error of ours."""
    problem = refusal(data)

    assert problem is None or (str(problem) and problem.render_hint())
