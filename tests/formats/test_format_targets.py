from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.formats import targets as module
from cli.formats.errors import (
    BadEncoding,
    BadTargetInFile,
    DuplicateTarget,
    EmptyList,
    FileMissing,
    FileTooLarge,
    FileUnreadable,
    NotJson,
    NotTargets,
)
from cli.formats.targets import read_targets
from ledger.domain.errors import LedgerError
from ledger.domain.values import BadTarget, Target

BODY: dict[str, Any] = {
    "custom": {"hardwareIds": ["rpi4"], "tags": ["main"], "version": "40", "name": "rpi4-lmp"},
    "hashes": {"sha256": "ab" * 32},
    "length": 0,
}


def body(**custom: Any) -> dict[str, Any]:
    made = copy.deepcopy(BODY)
    made["custom"].update(custom)
    return made


def read(document: object) -> list[Target]:
    return read_bytes(json.dumps(document).encode())


def read_bytes(data: bytes) -> list[Target]:
    return read_targets("-", io.BytesIO(data))


def refusal(data: bytes) -> LedgerError | None:
    try:
        read_bytes(data)
    except LedgerError as problem:
        return problem
    return None


TARGETS = {"rpi4-lmp-40": body(), "intel-lmp-40": body(hardwareIds=["intel"]), "rpi4-lmp-41": body(version=41)}
FOUNDRIES = {
    "signatures": [{"keyid": "ab", "method": "rsassa-pss-sha256", "sig": "x"}],
    "signed": {"_type": "Targets", "expires": "2027-09-30T00:00:00Z", "targets": TARGETS, "version": 41},
}
TUF = {
    "signatures": [],
    "signed": {
        "_type": "targets",
        "delegations": {"keys": {}, "roles": []},
        "expires": "2027-09-30T00:00:00Z",
        "spec_version": "1.0.31",
        "targets": TARGETS,
        "version": 1,
    },
}


def test_three_dialects_are_one() -> None:
    """Foundries' dialect, TUF 1.0 metadata and the plain map give the same targets, in the file's order."""
    plain = read(TARGETS)

    assert plain == read(FOUNDRIES) == read(TUF)
    assert [(target.name, target.number, target.hardware_id, target.tags) for target in plain] == [
        ("rpi4-lmp-40", 40, "rpi4", ("main",)),
        ("intel-lmp-40", 40, "intel", ("main",)),
        ("rpi4-lmp-41", 41, "rpi4", ("main",)),
    ]


def test_file_and_byte_order_mark(tmp_path: Path) -> None:
    """A file reads as standard input does, and a byte order mark at its start is dropped."""
    file = tmp_path / "targets.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(FOUNDRIES).encode())

    assert read(FOUNDRIES) == read_targets(str(file))


def test_truncated_anywhere() -> None:
    """A targets file cut short at any byte is refused as not JSON, with a place in the file."""
    data = json.dumps(FOUNDRIES, indent=1).encode()

    for size in range(len(data)):
        with pytest.raises(NotJson) as caught:
            read_bytes(data[:size])
        assert caught.value.exit_code == 3
        assert 1 <= caught.value.line <= data.count(b"\n", 0, size) + 1


@pytest.mark.parametrize(
    ("text", "line", "column", "problem"),
    [
        ("", 1, 1, "it is empty"),
        (" \n", 2, 1, "it is empty"),
        ("<html>\n", 1, 1, "Expecting value"),
        ('{\n "a": {},\n', 3, 1, "it ends too early"),
        ('{\n "a": "b', 2, 7, "it ends too early"),
        ('{\n "a": nope}', 2, 7, "Expecting value"),
        ("{}{}", 1, 3, "Extra data"),
        ('{"NaN": 1,\n "a": [1, NaN]}', 2, 11, "NaN is not a number"),
        ('{"a": -Infinity}', 1, 7, "-Infinity is not a number"),
        ('{"a": "tab\there"}', 1, 11, "Invalid control character"),
    ],
)
def test_not_json(text: str, line: int, column: int, problem: str) -> None:
    """Text that is not JSON is refused with its line, its column and what is wrong there."""
    with pytest.raises(NotJson) as caught:
        read_bytes(text.encode())

    assert (line, column) == (caught.value.line, caught.value.column)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("custom", "problem"),
    [
        ({"version": None}, "no custom.version"),
        ({"version": "v40"}, "not a target number"),
        ({"hardwareIds": ["rpi4", "intel"]}, "exactly one hardware id, and names 2"),
        ({"hardwareIds": []}, "names 0"),
        ({"size": 1.5}, "custom.size is a float"),
        ({"name": "Küche"}, "custom.name holds text outside printable ASCII"),
        ({"name": "\ud800"}, "outside printable ASCII"),
        ({"deep": {"n": [2**31]}}, "custom.deep.n[0] is 2147483648"),
        ({"n": -(2**31)}, "custom.n is -2147483648"),
    ],
)
def test_bad_target(custom: dict[str, Any], problem: str) -> None:
    """A target that not every client could read is refused by name, and nothing else of the file is returned."""
    with pytest.raises(BadTargetInFile) as caught:
        read({**TARGETS, "bad-one": body(**custom), "bad-two": body(**custom)})

    assert isinstance(caught.value, BadTarget)
    assert (caught.value.name, caught.value.bad, caught.value.total) == ("bad-one", 2, 5)
    assert problem in str(caught.value)
    assert "<stdin>" in str(caught.value)


@pytest.mark.parametrize("number", ["1" * 5000, "-" + "1" * 5000, "1e400", "2147483648"])
def test_huge_numbers(number: str) -> None:
    """Numbers of any size are refused with the target's name, also those that Python itself will not read."""
    text = json.dumps({"t": body(size="@")}).replace('"@"', number)

    with pytest.raises(BadTargetInFile, match=r"target 't': custom\.size"):
        read_bytes(text.encode())


@pytest.mark.parametrize(
    ("text", "key", "first_line", "line"),
    [
        ('{"a": 1,\n"b": {"a": 1},\n"a": 2}', "a", 1, 3),
        ('{"x": [{"a": "a"},\n{"a": 1, "\\u0061": [{}]}]}', "a", 2, 2),
        ('{"t": {"custom": {\n"{\\"}": 1,\n"{\\"}" : 1}}}', '{"}', 2, 3),
    ],
)
def test_duplicate_key(text: str, key: str, first_line: int, line: int) -> None:
    """One key twice in one map is refused with both lines, however it is written; in two maps it is fine."""
    with pytest.raises(DuplicateTarget) as caught:
        read_bytes(text.encode())

    assert (key, first_line, line) == (caught.value.key, caught.value.first_line, caught.value.line)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([TARGETS], "a JSON map is expected"),
        ("targets", "a JSON map is expected"),
        (None, "a JSON map is expected"),
        ({"signed": []}, "'signed' is not a map"),
        ({"signed": {"_type": "snapshot", "meta": {}}}, "signed._type is 'snapshot'"),
        ({"signed": {"targets": TARGETS}}, "signed._type is missing"),
        ({"signed": {"_type": ["targets"]}}, "signed._type is not a text"),
        ({"signed": {"_type": "targets", "spec_version": "2.0", "targets": TARGETS}}, "TUF 1.x is expected"),
        ({"signed": {"_type": "targets", "targets": []}}, "signed.targets is not a map"),
        ({"signed": {"_type": "targets", "targets": {}, "delegations": {"roles": [{}]}}}, "delegates"),
        ({"signed": {"_type": "targets", "targets": {}, "delegations": {"succinct_roles": {"a": 1}}}}, "delegates"),
        (TUF["signed"], "without its 'signed' envelope"),
    ],
)
def test_not_targets(document: object, problem: str) -> None:
    """JSON of another shape is refused, and the error tells what was found."""
    with pytest.raises(NotTargets) as caught:
        read(document)

    assert problem in str(caught.value)
    assert caught.value.render_hint().startswith('give TUF targets metadata, {"signed": {"_type"')


@pytest.mark.parametrize("document", [{}, {"signed": {"_type": "Targets", "targets": {}}}])
def test_no_targets(document: object) -> None:
    """A file without a single target is refused."""
    with pytest.raises(EmptyList, match="<stdin>: holds no targets"):
        read(document)


@pytest.mark.parametrize("data", [b"[" * 200_000, b'{"a":' * 200_000, b"[" * 5_000 + b"]" * 5_000])
def test_deep_nesting(data: bytes) -> None:
    """Nesting beyond what Python can follow is an error of ours, not a crash."""
    with pytest.raises(NotTargets, match="nested too deep"):
        read_bytes(data)


@pytest.mark.parametrize(
    ("data", "looks"),
    [
        (json.dumps(TARGETS).encode("utf-16"), "UTF-16"),
        (json.dumps(TARGETS).encode("utf-16-le"), "UTF-16"),
        (json.dumps(TARGETS).encode("utf-32"), "UTF-32"),
        ('{"a":\n"Küche"}'.encode("latin-1"), "line 2: byte 0xfc is not UTF-8"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"PK\x03\x04", "ZIP"),
    ],
)
def test_wrong_encoding(data: bytes, looks: str) -> None:
    """Bytes that are not UTF-8 text are refused, and the error tells what they look like."""
    with pytest.raises(BadEncoding, match=looks):
        read_bytes(data)


def test_missing_and_unreadable(tmp_path: Path) -> None:
    """A file that is not there is exit 4; a folder, or a name that no file can have, is refused."""
    with pytest.raises(FileMissing) as caught:
        read_targets(str(tmp_path / "nope.json"))
    assert caught.value.exit_code == 4

    for source in (str(tmp_path), "a\0b"):
        with pytest.raises(FileUnreadable) as refused:
            read_targets(source)
        assert refused.value.exit_code == 3


def test_closed_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading from a standard input that is closed is refused."""
    monkeypatch.setattr("sys.stdin", None)

    with pytest.raises(FileUnreadable, match="<stdin>: cannot be read: it is closed"):
        read_targets("-")


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file above the limit is refused by its size alone, and standard input once the limit is passed."""
    file = tmp_path / "large.json"
    with file.open("wb") as sparse:
        sparse.truncate(module.SIZE_LIMIT + 1)

    with pytest.raises(FileTooLarge, match=r"large.json: larger than 268435456 bytes"):
        read_targets(str(file))

    monkeypatch.setattr(module, "SIZE_LIMIT", 10)
    with pytest.raises(FileTooLarge):
        read(TARGETS)


def test_hundred_megabyte_line(tmp_path: Path) -> None:
    """A line of 100 MB that is no JSON is refused; JSON itself may well be one long line."""
    file = tmp_path / "long.json"
    with file.open("wb") as sparse:
        sparse.write(b'{"a": ')
        sparse.truncate(100_000_000)

    with pytest.raises(BadEncoding, match=r"long\.json, line 1: a NUL byte"):
        read_targets(str(file))
    with pytest.raises(NotJson, match="it ends too early"):
        read_bytes(b'{"a": "' + b"x" * 100_000_000)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "custom", "length", "signed"]), inner)
    ),
    max_leaves=8,
)


@given(st.binary(max_size=200) | st.text(alphabet='{}[]":,\\au0 -.eN\n', max_size=60).map(str.encode))
def test_any_bytes(data: bytes) -> None:
    """Whatever bytes come, the answer is targets or an error of ours that can be shown."""
    problem = refusal(data)

    assert problem is None or (str(problem) and problem.render_hint())


@given(
    st.integers(0, len(json.dumps(TUF))), st.integers(0, 8), st.binary(max_size=4) | st.text(max_size=3).map(str.encode)
)
def test_any_damage(start: int, cut: int, inserted: bytes) -> None:
    """Whatever is cut from good metadata or put into it, the answer is targets or an error of ours."""
    data = json.dumps(TUF).encode()
    problem = refusal(data[:start] + inserted + data[start + cut :])

    assert problem is None or (str(problem) and problem.render_hint())


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("signed", "a", "b"), _JSON)),
    _JSON,
    st.sampled_from(["version", "hardwareIds", "tags", "x"]),
)
def test_any_json(document: dict[str, Any], value: Any, field: str) -> None:
    """Whatever JSON comes, also inside an otherwise good target, the answer is targets or an error of ours."""
    for candidate in (
        document,
        {"t": body(**{field: value})},
        {"t": {**BODY, "length": value}},
        {"signed": {"_type": "targets", "targets": value}},
    ):
        problem = refusal(json.dumps(candidate).encode())
        assert problem is None or (str(problem) and problem.render_hint())
