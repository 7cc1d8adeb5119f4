"""CI targets from JSON: TUF 1.0 metadata, Foundries' dialect of it, or a plain map from name to target.

Rules of this module:

* Python's own JSON reader, because orjson keeps the last of two equal keys and turns large integers into floats.
* signatures and expiry are not looked at: CI targets are not trusted for who signed them (DESIGN §2).
* all or nothing: one bad target and none is returned. A file without targets is refused.
* metadata that delegates is refused: the targets of its delegated roles are in other files.
"""

from __future__ import annotations

import json
import re
from typing import BinaryIO, NoReturn

from cli.formats.errors import BadTargetInFile, DuplicateTarget, EmptyList, NotJson, NotTargets
from cli.formats.lines import crop, read_text, source_name
from ledger.domain.values import BadTarget, JsonObject, JsonValue, Target, read_target

SIZE_LIMIT = 256 * 1024 * 1024  # bytes; 100,000 real targets are a tenth of it

_DIGITS = 400  # an integer keeps this many: enough to be too large, and below what int() refuses with ValueError
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_TOKEN = re.compile(rf"(?P<text>{_STRING})(?P<key>\s*:)?|(?P<mark>[{{}}\[\]])|(?P<constant>NaN|-?Infinity)")


def read_targets(source: str, stdin: BinaryIO | None = None) -> list[Target]:
    """The targets of a file, or of standard input for ``-``, in the file's order.

    Raises:
        NotJson, DuplicateTarget, NotTargets, BadTargetInFile, EmptyList: what the file says is not what it should.
        FileMissing, FileUnreadable, FileTooLarge, BadEncoding: it could not be read.
    """
    file = source_name(source)
    entries = _entries(file, _parse(file, read_text(source, SIZE_LIMIT, stdin)))
    if not entries:
        raise EmptyList(source=file, what="targets")
    targets: list[Target] = []
    problems: list[BadTarget] = []
    for name, body in entries.items():
        try:
            targets.append(read_target(name, body))
        except BadTarget as problem:
            problems.append(problem)
    if problems:
        first = problems[0]
        raise BadTargetInFile(
            file=file, name=first.name, problem=first.problem, bad=len(problems), total=len(entries)
        ) from first
    return targets


class _Duplicate(Exception):
    """Somewhere a map has one key twice; where, only a second look tells."""


class _Constant(Exception):
    """NaN or Infinity, which Python reads and JSON does not have."""


def _parse(file: str, text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(
            text, object_pairs_hook=_map_of, parse_int=lambda digits: int(digits[:_DIGITS]), parse_constant=_no_constant
        )
    except json.JSONDecodeError as problem:
        raise NotJson(file=file, line=problem.lineno, column=problem.colno, problem=_explain(problem, text)) from None
    except RecursionError:
        raise NotTargets(file=file, problem="its JSON is nested too deep") from None
    except _Duplicate:
        raise _duplicate(file, text) from None
    except _Constant:
        found = next(token for token in _TOKEN.finditer(text) if token["constant"])
        raise NotJson(
            file=file,
            line=_line(text, found.start()),
            column=found.start() - text.rfind("\n", 0, found.start()),
            problem=f"{found[0]} is not a number",
        ) from None
    return value


def _entries(file: str, document: JsonValue) -> JsonObject:
    if not isinstance(document, dict):
        raise NotTargets(file=file, problem="not targets: a JSON map is expected at the top")
    if "signed" not in document:
        if "_type" in document or "targets" in document:
            raise NotTargets(file=file, problem="not targets: it looks like metadata without its 'signed' envelope")
        return document
    signed = document["signed"]
    if not isinstance(signed, dict):
        raise NotTargets(file=file, problem="not targets: 'signed' is not a map")
    kind = signed.get("_type")
    if kind not in ("targets", "Targets"):
        raise NotTargets(file=file, problem=f"not targets: its signed._type is {_show(kind)}")
    version = signed.get("spec_version", "1.0")
    if not isinstance(version, str) or not version.startswith("1."):
        raise NotTargets(file=file, problem=f"its signed.spec_version is {_show(version)}, and TUF 1.x is expected")
    delegations = signed.get("delegations")
    empty = isinstance(delegations, dict) and not (delegations.get("roles") or delegations.get("succinct_roles"))
    if delegations and not empty:
        raise NotTargets(file=file, problem="it delegates to other roles, whose targets are not in this file")
    targets = signed.get("targets")
    if not isinstance(targets, dict):
        raise NotTargets(file=file, problem="not targets: signed.targets is not a map")
    return targets


def _map_of(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Duplicate
    return found


def _no_constant(_: str) -> NoReturn:
    raise _Constant


def _duplicate(file: str, text: str) -> DuplicateTarget:
    """Where the first repeated key is. Up to there the text is known to be JSON, so tokens are enough."""
    open_maps: list[dict[str, int]] = []
    for token in _TOKEN.finditer(text):
        if token["mark"] in ("{", "["):
            open_maps.append({})
        elif token["mark"]:
            open_maps.pop()
        elif token["key"]:
            key = json.loads(token["text"])
            first = open_maps[-1].setdefault(key, token.start())
            if first != token.start():
                return DuplicateTarget(
                    file=file, line=_line(text, token.start()), key=crop(key), first_line=_line(text, first)
                )
    raise RuntimeError("a duplicate key was seen, and is not there on a second look")


def _explain(problem: json.JSONDecodeError, text: str) -> str:
    if not text.strip():
        return "it is empty"
    if problem.pos >= len(text.rstrip()) or problem.msg.startswith("Unterminated string"):
        return f"it ends too early ({problem.msg})"
    return problem.msg


def _show(value: JsonValue) -> str:
    if isinstance(value, str):
        return repr(crop(value))
    return "missing" if value is None else "not a text"


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1
