"""The words of the domain as values: what enters, and what is refused at the door (DESIGN §4, "Bytes"; CLI.md)."""

# ruff: noqa: RUF001  digits and letters that look like ASCII and are not: what the rules have to tell apart

from __future__ import annotations

import copy
import json
import re
import string
from datetime import UTC, timedelta, timezone

import pytest
from hypothesis import assume
from hypothesis import given as for_all
from hypothesis import strategies as st

from ledger.domain import values
from ledger.domain.values import (
    BadName,
    BadTarget,
    BadTargetNumber,
    BadText,
    BadTime,
    BadUuid,
    TimeDamaged,
    check_name,
    check_text,
    check_uuid,
    content_problem,
    format_time,
    from_epoch,
    highest,
    known_target,
    parse_number,
    parse_time,
    read_target,
    to_epoch,
)

BODY = {
    "length": 10,
    "hashes": {"sha256": "ab" * 32},
    "custom": {"version": "48", "hardwareIds": ["rpi4"], "tags": ["main"]},
}


def refused(call, error, *arguments):
    """The error that a value is refused with: exit code 3, a message that is not long, a hint."""
    with pytest.raises(error) as caught:
        call(*arguments)
    assert caught.value.exit_code == 3
    assert len(str(caught.value)) < 500
    assert caught.value.render_hint()
    return caught.value


# names


@pytest.mark.parametrize("name", ["a", "0", "v48", "release-2.0_rc.1", "A" * 60, "a..", "1-"])
def test_a_name_that_is_one(name):
    """[A-Za-z0-9][A-Za-z0-9._-]*, at most 60 characters."""
    assert check_name("wave", name) == name


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "..", "-v", "_v", ".v", "a b", "a/b", "a\\b", "a\n", "\na", "a\x00", "é", "aé",
     "٣", "ａ", "a:b", "A" * 61, "x" * 10**6, "a,b", "a%", "\x1b[31m"],
)  # fmt: skip
def test_a_name_that_is_none(name):
    """Nothing that a path, a shell, a URL or a terminal would read as more than a name."""
    assert refused(check_name, BadName, "wave", name).what == "wave"


@pytest.mark.property
@for_all(st.text(max_size=70))
def test_names_are_exactly_the_documented_alphabet(name):
    """CLI.md, "names"."""
    allowed = bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name, re.ASCII)) and len(name) <= 60

    assert _accepts(check_name, BadName, "tag", name) == allowed


# uuids


@pytest.mark.property
@for_all(st.text(max_size=70) | st.text(string.printable, max_size=62))
def test_uuids_are_exactly_the_documented_alphabet(uuid):
    """At most 60 printable ASCII characters, no space, comma, semicolon or pipe."""
    allowed = 1 <= len(uuid) <= 60 and all("!" <= c <= "~" and c not in ",;|" for c in uuid)

    assert _accepts(check_uuid, BadUuid, uuid) == allowed


@pytest.mark.parametrize("uuid", ["", "a b", "a,b", "a;b", "a|b", "a\tb", "a\n", "ü", "x" * 61, "\x7f"])
def test_a_uuid_that_is_none(uuid):
    """Fioctl's separators, white space, anything beyond ASCII."""
    refused(check_uuid, BadUuid, uuid)


# numbers


@pytest.mark.parametrize("text", ["1", "48", "2147483647"])
def test_a_target_number(text):
    """A positive integer below 2**31."""
    assert parse_number(text) == int(text)


@pytest.mark.parametrize(
    "text",
    ["", "0", "00", "048", "-1", "+1", "1.0", "1e3", " 1", "1 ", "1\n", "1_0", "٣", "²", "0x1", "abc", "2147483648",
     "99999999999", "9" * 10**5],
)  # fmt: skip
def test_a_target_number_that_is_none(text):
    """Also what Python's int() would take."""
    refused(parse_number, BadTargetNumber, text)


def test_the_highest_of_no_numbers_is_zero():
    """A device that never reported has version 0."""
    assert highest([]) == 0
    assert highest([3, 60, 48]) == 60


# free text


@pytest.mark.parametrize("text", ["battery drain", "größer als 5 %", "x" * 500, "日本"])
def test_a_reason_is_one_printable_line(text):
    """In any script."""
    assert check_text("reason", text) == text


@pytest.mark.parametrize(
    "text",
    ["", "  ", "a\nb", "a\tb", "a\x1b[31m", "a\x00", "x" * 501, "\u202ea", "\ud800", "a\u2028b", "\xa0", "a\x85"],
)
def test_a_reason_that_would_deceive_a_terminal(text):
    """Nothing empty, no control characters, no other direction, no lone surrogate, no second line."""
    assert refused(check_text, BadText, "reason", text).what == "reason"


# times


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z"),
        ("2027-01-31t12:00:00z", "2027-01-31T12:00:00Z"),
        ("2027-01-31T12:00:00.999Z", "2027-01-31T12:00:00Z"),
        ("2027-01-31T12:00:00+02:00", "2027-01-31T10:00:00Z"),
        ("2027-01-31T23:30:00-01:00", "2027-02-01T00:30:00Z"),
        ("2028-02-29T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("0999-01-01T00:00:00Z", "0999-01-01T00:00:00Z"),
    ],
)
def test_a_time_is_read_and_written_in_utc(text, written):
    """RFC 3339 in, UTC in whole seconds with a final Z out."""
    assert format_time(parse_time(text)) == written


@pytest.mark.parametrize(
    "text",
    ["", "now", "2027-01-31", "2027-01-31T12:00Z", "2027-01-31T12:00:00", "2027-01-31 12:00:00Z",
     "2027-02-29T00:00:00Z",
     "2027-13-01T00:00:00Z", "2027-01-31T24:00:01Z", "2027-01-31T12:00:60Z", "20270131T120000Z", "2027-W04-7T12:00:00Z",
     "2027-01-31T12:00:00+0200", "2027-01-31T12:00:00+99:00", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00",
     "0000-01-01T00:00:00Z", "٢٠٢٧-01-31T12:00:00Z", "2027-01-31T12:00:00ｚ", "2027-01-31T12:00:00Z\n", "1700000000",
     "2027-01-31T12:00:00Z" + " " * 10**5],
)  # fmt: skip
def test_a_time_that_is_none(text):
    """Also what datetime.fromisoformat() would take."""
    refused(parse_time, BadTime, text)


ZONES = st.integers(-840, 840).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(timezones=ZONES).filter(lambda moment: 2 <= moment.year <= 9998)


@pytest.mark.property
@for_all(MOMENTS)
def test_times_round_trip(moment):
    """parse_time undoes format_time to the second."""
    second = moment.astimezone(UTC).replace(microsecond=0)

    assert parse_time(format_time(moment)) == second
    assert format_time(parse_time(format_time(moment))) == format_time(moment)


@pytest.mark.property
@for_all(st.integers(0, 253_402_300_799))
def test_epochs_round_trip(seconds):
    """to_epoch undoes from_epoch, which is aware and UTC."""
    assert to_epoch(from_epoch(seconds)) == seconds
    assert from_epoch(seconds).tzinfo is UTC


@pytest.mark.parametrize("seconds", [2**63 - 1, -(2**63), 253_402_300_800, 10**17])
def test_a_time_that_no_calendar_has(seconds: int) -> None:
    """A store that somebody damaged may hold any number: it is said, not thrown at the user as it comes."""
    with pytest.raises(TimeDamaged, match=str(seconds)) as caught:
        from_epoch(seconds)
    assert caught.value.exit_code == 7


@pytest.mark.property
@for_all(st.text(max_size=40))
def test_any_text_is_a_time_or_refused(text):
    """No other error ever leaves parse_time."""
    if _accepts(parse_time, BadTime, text):
        assert text.isascii()


# content: what all encoders write alike

GOOD = {
    "text": "plain ASCII, ~ and space",
    "an empty text": "",
    "null": None,
    "true is no integer": True,
    "false": False,
    "the largest integer": 2**31 - 1,
    "the smallest integer": -(2**31) + 1,
    "lists and maps": [{"a": [1, {"b": None}]}, []],
    "quote and backslash": '"\\',
}


@pytest.mark.parametrize("value", GOOD.values(), ids=GOOD)
def test_content_that_every_client_reads_alike(value):
    """ASCII text, integers below 2**31, booleans, null, lists and maps."""
    assert content_problem({"custom": {"x": value}}) is None


BAD = {
    "a float": (1.5, "float"),
    "a whole float": (1.0, "float"),
    "not a number": (float("nan"), "float"),
    "infinity": (float("inf"), "float"),
    "2**31": (2**31, "2147483648"),
    "-2**31": (-(2**31), "2147483648"),
    "2**63": (2**63, "2147483648"),
    "a huge integer": (10**400, "2147483648"),
    "an umlaut": ("ü", "ASCII"),
    "an escape": ("\x1b[0m", "ASCII"),
    "a newline": ("a\nb", "ASCII"),
    "a final newline": ("a\n", "ASCII"),
    "a tab": ("\t", "ASCII"),
    "delete": ("\x7f", "ASCII"),
    "a null byte": ("\x00", "ASCII"),
    "a lone surrogate": ("\ud800", "ASCII"),
    "a field name with an umlaut": ({"ü": 1}, "field name"),
    "a field name with a newline": ({"a\n": 1}, "field name"),
}


@pytest.mark.parametrize(("value", "word"), BAD.values(), ids=BAD)
@pytest.mark.parametrize(
    "wrap", [lambda v: v, lambda v: [1, v], lambda v: {"y": [{"z": v}]}], ids=["bare", "list", "deep"]
)
def test_content_that_encoders_disagree_on(value, word, wrap):
    """The problem names the place and what is wrong, in printable ASCII."""
    problem = content_problem({"custom": {"x": wrap(value)}})

    assert problem.startswith("custom.x")
    assert word in problem
    assert problem.isascii()
    assert problem.isprintable()
    assert len(problem) < 300


def test_content_is_not_nested_without_end():
    """32 levels are fine, 33 are not, and a million do not exhaust the stack."""

    def nested(levels):
        value = 1
        for _ in range(levels):
            value = [value]
        return value

    assert content_problem(nested(32)) is None
    assert "nested" in content_problem(nested(33))
    assert "nested" in content_problem(nested(100_000))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31) + 1, 2**31 - 1) | st.text(string.printable[:95], max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(string.ascii_letters, max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


@pytest.mark.property
@for_all(JSON)
def test_all_content_of_that_kind_is_let_in(value):
    """Nothing more is refused than has to be."""
    assert content_problem(value) is None


# targets


def test_a_target_is_read():
    """With its number, its one hardware id and its tags."""
    target = read_target("raspberrypi4-lmp-48", BODY)

    assert (target.number, target.hardware_id, target.tags) == (48, "rpi4", ("main",))
    assert (target.length, target.hashes, target.body) == (10, BODY["hashes"], BODY)
    assert not target.has_static_delta


@pytest.mark.parametrize("version", [48, "48"], ids=repr)
def test_the_target_number_is_text_or_integer(version):
    """Foundries writes text, others write an integer."""
    assert read_target("a", _custom(version=version)).number == 48


def test_a_target_without_tags():
    """It has none, and gets one when it is retagged."""
    body = {**BODY, "custom": {"version": "48", "hardwareIds": ["rpi4"]}}

    assert read_target("a", body).tags == ()
    assert read_target("a", body).retagged("release").body["custom"]["tags"] == ["release"]


def _custom(**changes):
    return {**BODY, "custom": {**BODY["custom"], **changes}}


def _without(field):
    return {**BODY, "custom": {name: value for name, value in BODY["custom"].items() if name != field}}


BAD_TARGETS = {
    "not a map": ([], "map"),
    "null": (None, "map"),
    "an unknown field": ({**BODY, "size": 1}, "unknown field 'size'"),
    "no length": ({name: BODY[name] for name in ("hashes", "custom")}, "length"),
    "a negative length": ({**BODY, "length": -1}, "length"),
    "a length that is true": ({**BODY, "length": True}, "length"),
    "a length in text": ({**BODY, "length": "10"}, "length"),
    "a length of 2**31": ({**BODY, "length": 2**31}, "2147483648"),
    "no hashes": ({**BODY, "hashes": {}}, "no hashes"),
    "hashes that are a list": ({**BODY, "hashes": ["ab"]}, "no hashes"),
    "md5": ({**BODY, "hashes": {"md5": "ab" * 16}}, "md5"),
    "a short hash": ({**BODY, "hashes": {"sha256": "ab"}}, "64 hex digits"),
    "a hash in capitals": ({**BODY, "hashes": {"sha256": "AB" * 32}}, "64 hex digits"),
    "a hash with a newline": ({**BODY, "hashes": {"sha256": "ab" * 32 + "\n"}}, "64 hex digits"),
    "a hash that is a number": ({**BODY, "hashes": {"sha256": 1}}, "64 hex digits"),
    "no custom": ({name: BODY[name] for name in ("hashes", "length")}, "no custom"),
    "no custom.version": (_without("version"), "no custom.version"),
    "version zero": (_custom(version="0"), "not a target number"),
    "a version with a leading zero": (_custom(version="048"), "not a target number"),
    "a version that is true": (_custom(version=True), "not a target number"),
    "a version in a list": (_custom(version=[48]), "not a target number"),
    "a version that is no number": (_custom(version="v48"), "not a target number"),
    "version 2**31 in text": (_custom(version="2147483648"), "not a target number"),
    "no hardware id": (_without("hardwareIds"), "exactly one hardware id, and names 0"),
    "an empty list of hardware ids": (_custom(hardwareIds=[]), "names 0"),
    "two hardware ids": (_custom(hardwareIds=["rpi4", "x86"]), "names 2"),
    "a hardware id outside a list": (_custom(hardwareIds="rpi4"), "exactly one"),
    "an empty hardware id": (_custom(hardwareIds=[""]), "exactly one"),
    "a hardware id with a space": (_custom(hardwareIds=["r pi"]), "hardware id"),
    "tags that are text": (_custom(tags="main"), "custom.tags"),
    "a tag with a slash": (_custom(tags=["a/b"]), "not a tag name"),
    "a tag that is a number": (_custom(tags=[1]), "not a tag name"),
    "a float in custom": (_custom(x=[1.5]), "custom.x[0] is a float"),
    "non-ASCII in custom": (_custom(x={"y": "ü"}), "custom.x.y"),
}


@pytest.mark.parametrize(("body", "words"), BAD_TARGETS.values(), ids=BAD_TARGETS)
def test_a_target_that_is_none(body, words):
    """Refused with its name and what is wrong with it."""
    error = refused(read_target, BadTarget, "a-48", body)

    assert error.name == "a-48"
    assert words in error.problem


@pytest.mark.parametrize(
    "name", ["", "/a", "../a", "a/../b", "a b", "a\n", "é", "x" * 251, ".a", "a\\b", "a%2f", "\x1b[31m"]
)
def test_a_target_name_that_is_none(name):
    """A name becomes a path on servers and devices."""
    refused(read_target, BadTarget, name, BODY)


@pytest.mark.property
@for_all(
    st.dictionaries(st.text(string.ascii_letters, max_size=8), JSON, max_size=4), st.sampled_from(["release", "beta"])
)
def test_retagging_keeps_every_other_custom_field(extra, tag):
    """And changes neither the target that it starts from, nor its name, length or hashes."""
    assume(not {*extra} & {"version", "hardwareIds", "tags"})
    target = read_target("a-48", _custom(**extra))
    before = copy.deepcopy(target)
    retagged = target.retagged(tag)

    assert retagged.body == {**BODY, "custom": {**BODY["custom"], **extra, "tags": [tag]}}
    assert retagged == read_target("a-48", json.loads(json.dumps(retagged.body)))
    assert target == before
    assert retagged.retagged(tag) == retagged


@pytest.mark.property
@for_all(st.dictionaries(st.sampled_from(["x", "tags"]), st.just(["main", "devel"])), st.sampled_from([48, "48"]))
def test_a_target_that_was_admitted_is_read_alike(extra, version):
    """known_target leaves out the checks of read_target and nothing else."""
    body = {**BODY, "custom": {"version": version, "hardwareIds": ["rpi4"], **extra}}

    assert known_target("a-48", body) == read_target("a-48", body)


def _accepts(call, error, *arguments):
    try:
        call(*arguments)
    except error:
        return False
    return True


def test_limits_are_the_documented_ones():
    """The numbers that messages and documents repeat."""
    assert (values.NAME_LIMIT, values.INTEGER_LIMIT, values.TEXT_LIMIT, values.DEPTH_LIMIT) == (60, 2**31, 500, 32)
