"""The words of the domain as values, each checked where it enters, trusted everywhere else.

Rules of this module:

* wave, tag, group: ``[A-Za-z0-9][A-Za-z0-9._-]*``, at most 60 characters (CLI.md, "names").
* device uuid: 1 to 60 printable ASCII characters without space, comma, semicolon or pipe (fioctl's separators).
* times are UTC, whole seconds, RFC 3339 with a final ``Z``.
* a target belongs to exactly one hardware id and has a target number, `custom.version` (Foundries' convention).
* signed content holds only what every TUF client's canonical JSON encodes alike (DESIGN §4, "Bytes"): ASCII text
  without control characters, integers below 2**31 in size, booleans, null, lists and maps. No floats.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from ledger.domain.errors import BadInput, StorageFailure

JsonValue: TypeAlias = "None | bool | int | float | str | list[JsonValue] | dict[str, JsonValue]"
JsonObject: TypeAlias = "dict[str, JsonValue]"

NAME_LIMIT = 60  # characters, as fioctl
ACTOR_LIMIT = 100  # characters
TEXT_LIMIT = 500  # characters of free text
INTEGER_LIMIT = 2**31  # exclusive; what every client's JSON reader holds exactly
DEPTH_LIMIT = 32  # levels of nesting in a target's custom; far above any real build's

_Refuse: TypeAlias = "Callable[[str], BadTarget]"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_PRINTING = re.compile(r"[!-~]+", re.ASCII)
_PLAIN = re.compile(r"[ -~]*", re.ASCII)
_TARGET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:@/-]*", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


class BadName(BadInput):
    """A wave, tag, group, factory or member name outside the allowed alphabet."""

    message = "{what} name {name!r} is not allowed"
    hint = "names start with a letter or digit, go on with letters, digits, '.', '_' or '-', at most 60 characters"
    what: str
    name: str


class BadActor(BadInput):
    """A member's or actor's name that could not be shown or compared safely."""

    message = "the actor name {name!r} is not allowed"
    hint = "a name has 1 to 100 printable ASCII characters without spaces, such as a login name or an address"
    name: str


class BadUuid(BadInput):
    """A device uuid outside the allowed alphabet or too long."""

    message = "device uuid {uuid!r} is not allowed"
    hint = "a uuid has 1 to 60 printable ASCII characters, without space, comma, semicolon or pipe"
    uuid: str


class BadTime(BadInput):
    """A time that is not RFC 3339."""

    message = "{text!r} is not an RFC 3339 time"
    hint = "write it like 2027-01-31T12:00:00Z"
    text: str


class TimeDamaged(StorageFailure):
    """A stored time that no calendar has."""

    message = "a time in the store is {seconds} seconds after 1970, which is no time"
    hint = "run `waveledger audit verify`; somebody wrote to the store without waveledger"
    seconds: int


class BadTargetNumber(BadInput):
    """A target number that is not a positive integer below 2**31."""

    message = "{text!r} is not a target number"
    hint = "a target number is the integer in custom.version: 1, 2, 3 ... below 2147483648"
    text: str


class BadTarget(BadInput):
    """A target that clients could not all read, or that Waveledger could not offer to a device."""

    message = "target {name!r}: {problem}"
    hint = "fix it where it was built (CI), or leave it out of the import"
    name: str
    problem: str


class BadText(BadInput):
    """Free text that could not be shown or kept as it is."""

    message = "the {what} is not allowed: {problem}"
    hint = "write one line of printable text, at most {limit} characters"
    what: str
    problem: str
    limit: int


def check_text(what: str, text: str) -> str:
    """Free text for the history (a reason): one printable line. Raises: BadText."""
    if len(text) > TEXT_LIMIT:
        raise BadText(what=what, problem=f"it has {len(text)} characters", limit=TEXT_LIMIT)
    if not text.strip() or not text.isprintable():
        raise BadText(what=what, problem="it is empty or holds control characters", limit=TEXT_LIMIT)
    return text


def check_name(what: str, name: str) -> str:
    """The name itself, when it is one. Raises: BadName."""
    if len(name) > NAME_LIMIT or not _NAME.fullmatch(name):
        raise BadName(what=what, name=_crop(name))
    return name


def check_actor(name: str) -> str:
    r"""The name itself, when it is one of a person, a role or a program: alice, CORP\alice, ci@example.com.

    Raises: BadActor.
    """
    if not 1 <= len(name) <= ACTOR_LIMIT or not _PRINTING.fullmatch(name):
        raise BadActor(name=_crop(name))
    return name


def check_uuid(uuid: str) -> str:
    """The uuid itself, when it is one. Raises: BadUuid."""
    if len(uuid) > NAME_LIMIT or not _PRINTING.fullmatch(uuid) or any(c in uuid for c in ",;|"):
        raise BadUuid(uuid=_crop(uuid))
    return uuid


def is_plain(text: str) -> bool:
    """Whether text is printable ASCII: what every encoder writes alike and no terminal interprets."""
    return _PLAIN.fullmatch(text) is not None


def parse_number(text: str) -> int:
    """A target number from what a user typed. Raises: BadTargetNumber."""
    if not _NUMBER.fullmatch(text) or int(text) >= INTEGER_LIMIT:
        raise BadTargetNumber(text=_crop(text))
    return int(text)


def parse_time(text: str) -> datetime:
    """An aware UTC time, cut to whole seconds, from RFC 3339 text. Raises: BadTime."""
    upper = text.upper()  # RFC 3339 allows small t and z; fromisoformat reads far more than RFC 3339
    if not _TIME.fullmatch(upper) or not text.isascii():
        raise BadTime(text=_crop(text))
    try:
        return datetime.fromisoformat(upper).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):  # overflow: an offset that leads out of the years 1 to 9999
        raise BadTime(text=_crop(text)) from None


def format_time(moment: datetime) -> str:
    """RFC 3339, UTC, whole seconds, ending in Z."""
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def from_epoch(seconds: int) -> datetime:
    """The aware UTC time of a number of seconds since 1970. Raises: TimeDamaged."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OSError, OverflowError, ValueError):
        raise TimeDamaged(seconds=seconds) from None


def to_epoch(moment: datetime) -> int:
    """Whole seconds since 1970."""
    return int(moment.timestamp())


@dataclass(frozen=True, slots=True)
class Target:
    """A TUF target and what Waveledger reads out of its `custom`.

    `body` is the target as TUF has it, without its name: ``{"custom": {...}, "hashes": {...}, "length": n}``.
    """

    name: str
    number: int
    hardware_id: str
    tags: tuple[str, ...]
    body: JsonObject

    @property
    def hashes(self) -> JsonValue:
        """The map from algorithm to hex digest."""
        return self.body["hashes"]

    @property
    def length(self) -> JsonValue:
        """The target file's length in bytes."""
        return self.body["length"]

    @property
    def has_static_delta(self) -> bool:
        """Whether CI computed a static delta for it (Foundries: `custom.delta-stats`)."""
        custom = self.body["custom"]
        return isinstance(custom, dict) and custom.get("delta-stats") is not None

    def retagged(self, tag: str) -> Target:
        """The same target with `custom.tags` replaced by ``[tag]``, every other custom field kept (fioctl)."""
        custom = self.body["custom"]
        assert isinstance(custom, dict)  # read_target let nothing else in
        return Target(
            self.name, self.number, self.hardware_id, (tag,), {**self.body, "custom": {**custom, "tags": [tag]}}
        )


def read_target(name: str, body: JsonValue) -> Target:
    """The target of one entry of a targets map. Raises: BadTarget, with the entry's name and what is wrong."""

    def refuse(problem: str) -> BadTarget:
        return BadTarget(name=_crop(name), problem=problem)

    if not _TARGET_NAME.fullmatch(name) or ".." in name.split("/") or len(name) > 250:
        raise refuse("not a target name: letters, digits and . _ + : @ / - only, at most 250 characters")
    if not isinstance(body, dict):
        raise refuse("is not a map")
    unknown = sorted(set(body) - {"custom", "hashes", "length"})
    if unknown:
        raise refuse(f"unknown field {_crop(unknown[0])!r}")
    length, hashes, custom = body.get("length"), body.get("hashes"), body.get("custom")
    if isinstance(length, bool) or not isinstance(length, int) or length < 0:
        raise refuse("length is not a whole number of bytes")
    _check_hashes(hashes, refuse)
    if not isinstance(custom, dict):
        raise refuse("has no custom map, so no custom.version and no custom.hardwareIds")
    problem = content_problem(body)
    if problem:
        raise refuse(problem)
    return Target(name, _number_of(custom, refuse), _hardware_of(custom, refuse), _tags_of(custom, refuse), body)


def known_target(name: str, body: JsonObject) -> Target:
    """The target of an entry that `read_target` admitted when it entered the ledger, without checking it again."""
    custom: Any = body["custom"]
    return Target(name, int(custom["version"]), custom["hardwareIds"][0], tuple(custom.get("tags", ())), body)


def content_problem(value: JsonValue) -> str | None:
    """What in a JSON value not every TUF client would encode alike, with its path; None when all is well."""
    stack: list[tuple[str, JsonValue, int]] = [("", value, 0)]
    while stack:
        path, item, depth = stack.pop()
        if depth > DEPTH_LIMIT:
            return f"{path or 'value'} is nested more than {DEPTH_LIMIT} deep"
        if isinstance(item, str):
            if not is_plain(item):
                return f"{path} holds text outside printable ASCII: {_crop(item)!a}"
        elif isinstance(item, bool) or item is None:
            continue
        elif isinstance(item, float):
            return f"{path} is a float, {item!r}; signed metadata has whole numbers only"
        elif isinstance(item, int):
            if not -INTEGER_LIMIT < item < INTEGER_LIMIT:
                return f"{path} is {_crop(str(item))}, and integers stay below 2147483648"
        elif isinstance(item, dict):
            for key, child in item.items():
                if not is_plain(key):
                    return f"{path} has a field name outside printable ASCII: {_crop(key)!a}"
                stack.append((f"{path}.{key}" if path else key, child, depth + 1))
        else:
            stack.extend((f"{path}[{i}]", child, depth + 1) for i, child in enumerate(item))
    return None


def highest(numbers: Iterable[int]) -> int:
    """The highest number, 0 when there is none: the number of a device that never reported."""
    return max(numbers, default=0)


def _check_hashes(hashes: JsonValue, refuse: _Refuse) -> None:
    if not isinstance(hashes, dict) or not hashes:
        raise refuse("has no hashes")
    for algorithm, digest in hashes.items():
        size = {"sha256": 64, "sha512": 128}.get(algorithm)
        if size is None:
            raise refuse(f"hash algorithm {_crop(algorithm)!r} is not sha256 or sha512")
        if not isinstance(digest, str) or not re.fullmatch(rf"[0-9a-f]{{{size}}}", digest):
            raise refuse(f"its {algorithm} is not {size} hex digits")


def _number_of(custom: Mapping[str, JsonValue], refuse: _Refuse) -> int:
    version = custom.get("version")
    if version is None:
        raise refuse("has no custom.version")
    text = str(version) if isinstance(version, (str, int)) and not isinstance(version, bool) else ""
    if not _NUMBER.fullmatch(text) or int(text) >= INTEGER_LIMIT:
        raise refuse(f"custom.version {_crop(str(version))!r} is not a target number (1, 2, 3 ... below 2147483648)")
    return int(text)


def _hardware_of(custom: Mapping[str, JsonValue], refuse: _Refuse) -> str:
    ids = custom.get("hardwareIds")
    if not isinstance(ids, list) or len(ids) != 1 or not isinstance(ids[0], str) or not ids[0]:
        found = len(ids) if isinstance(ids, list) else 0
        raise refuse(f"custom.hardwareIds must name exactly one hardware id, and names {found}")
    if not _NAME.fullmatch(ids[0]) or len(ids[0]) > NAME_LIMIT:
        raise refuse(f"hardware id {_crop(ids[0])!r} is not allowed")
    return ids[0]


def _tags_of(custom: Mapping[str, JsonValue], refuse: _Refuse) -> tuple[str, ...]:
    tags = custom.get("tags", [])
    if not isinstance(tags, list):
        raise refuse("custom.tags is not a list")
    for tag in tags:
        if not isinstance(tag, str) or len(tag) > NAME_LIMIT or not _NAME.fullmatch(tag):
            raise refuse(f"custom.tags holds {_crop(str(tag))!r}, which is not a tag name")
    return tuple(str(tag) for tag in tags)


def _crop(text: str) -> str:
    return text if len(text) <= 100 else text[:100] + "..."
