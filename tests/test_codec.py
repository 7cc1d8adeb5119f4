"""Events and their bytes: golden for ever, decoded strictly, newer ones refused (DESIGN §3, §5)."""

from __future__ import annotations

import dataclasses
import re
import types
from datetime import UTC, datetime
from pathlib import Path
from typing import Union, get_args, get_origin, get_type_hints

import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from ledger.codec import REGISTRY, EventUnreadable, WrittenByNewerVersion, decode, encode, require_known
from ledger.domain import events as e
from ledger.upcasters import UPCASTERS, upcast

GOLDEN = Path(__file__).parent / "golden" / "events"
TIME = datetime(2027, 11, 23, 20, 34, 56, tzinfo=UTC)
TARGET = {
    "custom": {"hardwareIds": ["rpi4"], "tags": ["main"], "version": "48"},
    "hashes": {"sha256": "ab" * 32},
    "length": 10,
}
KEY = {"keytype": "ed25519", "keyval": {"public": "ef" * 32}, "scheme": "ed25519"}
COLUMNS = (
    ("gw-1", "t-1"),
    ("Gate", "Prüfstand"),
    ("rpi4", "x86"),
    ("release", "beta"),
    ("canary", None),
    (True, False),
)

RESIGNED = (e.Document("held/v40", 2001, TIME, "v40", None),)
SIGNER, OLD_SIGNER = e.KeySignatures("cd" * 32, ("06" * 64,)), e.KeySignatures("ef" * 32, ("07" * 64,))
EXAMPLES = [
    e.FactoryInitialized("acme", "ab" * 32),
    e.MemberAdded("alice", "owner"),
    e.MemberRemoved("alice"),
    e.RootPublished("production", 1, TIME, '{"signed": "…"}\n'),
    e.OnlineKeySet("ci", "timestamp", "cd" * 32, KEY),
    e.RootProposed(3, '{"_type":"root"}', TIME),
    e.RootSigned(3, "cd" * 32, "04" * 64),
    e.ProposedTargetsSigned(3, "tag:release", RESIGNED, "cd" * 32, ("05" * 64,)),
    e.RootUpdateClosed(3, "applied"),
    e.RootsTakenIn("production", 4),
    e.CiTargetsImported("ci.json", {"b-48": TARGET, "a-48": {**TARGET, "length": 0}}),
    e.CiTargetsPruned(("a-48", "b-48")),
    e.WaveOpened("release", "v48", 48, 1, 2),
    e.TargetsPromoted("release", "v48", 48, 1000, TIME),
    e.TargetsPruned("release", "v48", (40, 41), ("a-40", "a-41")),
    e.TargetsResigned("release", 2, 4, RESIGNED, (SIGNER,), (OLD_SIGNER,)),
    e.WaveClosed("release", "v48", "canceled", (e.Recovery("production/release", 2000, TIME, None),)),
    e.WaveInitialized(
        "v48", "release", 48, None, (40,), ("a-48",), TIME, 1, 2,
        (e.Document("wave/v48", 1000, TIME, None, "{}"), e.Document("production/release", 2000, TIME, "v40", None)),
    ),
    e.WaveSigned("v48", "cd" * 32, ("01" * 64, "02" * 64)),
    e.WaveResigned("v48", 2, 2, RESIGNED, (SIGNER,), (OLD_SIGNER,)),
    e.WaveHoldersChanged("v48", 2, 3, ("cd" * 32,)),
    e.WaveRolledOut("v48", 1, e.Selector("canary", "25%", None), False, 3, 1, "ab" * 32, None),
    e.WaveCompleted("v48"),
    e.WaveCanceled("v48", "battery drain"),
    e.DevicesStaged("v48", 1, ("gw-1", "gw-2")),
    e.DevicesRegistered(*COLUMNS),
    e.DevicesChanged(*COLUMNS),
    e.DevicesRemoved(("gw-1", "t-1")),
    e.DevicesReported(("gw-1", "t-1"), ("a-48", None), (48, 0), (1_800_000_000, 0)),
    e.MetadataPublished(
        "production/release", 1,
        (e.DocumentPublished(1000, "cd" * 32, "03" * 64, "v48", "wave/v48", None, None),),
        (e.ViewPublished("wave/v48", 7, 1000, "{}", "{}", TIME, TIME),),
        ("wave/v40",), ("wave/v30",),
    ),
    e.DocumentCosigned("ci/main", 4, (e.KeySignatures("ef" * 32, ("07" * 64,)),)),
    e.VersionsRaised("production/release", 12, 4003),
    e.BundleExported("production/release", 1, e.ViewPublished("production/release", 9, 2000, "{}", "{}", TIME, TIME)),
]  # fmt: skip
BY_TOPIC = {example.topic: example for example in EXAMPLES}


def golden_file(topic):
    """Where a topic's bytes are kept."""
    return GOLDEN / f"{topic.replace('/', '_')}.json"


# the golden corpus


def test_every_event_has_golden_bytes():
    """Registry, examples and corpus list the same topics: a new event without golden bytes fails here."""
    assert {cls.topic for cls in e.EVENTS} == set(REGISTRY)
    assert len(e.EVENTS) == len(REGISTRY)
    assert set(BY_TOPIC) == set(REGISTRY)
    assert {golden_file(topic).name for topic in {*REGISTRY, *UPCASTERS}} == {file.name for file in GOLDEN.iterdir()}


@pytest.mark.parametrize("topic", sorted(BY_TOPIC))
def test_the_bytes_of_an_event_are_for_ever(topic):
    """An event encodes to its golden bytes, and they decode to the same event."""
    golden = golden_file(topic).read_bytes()

    assert encode(BY_TOPIC[topic]) == golden
    assert decode(topic, golden) == BY_TOPIC[topic]


def test_topics_are_plain_words():
    """A word, a version, never a module path."""
    for topic, cls in REGISTRY.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*/[1-9]\d*", topic)
        assert cls.__module__ not in topic
        assert cls.__name__ not in topic


def test_fields_come_in_declared_order_and_maps_sorted():
    """Whatever the order in which a map was filled."""
    one = encode(e.CiTargetsImported("ci", {"b": {"y": 1, "x": 2}, "a": {}}))

    assert one == b'{"source":"ci","targets":{"a":{},"b":{"x":2,"y":1}}}'


# strict decoding


def unreadable(topic, payload):
    """The error for a payload: exit 7, with the topic."""
    with pytest.raises(EventUnreadable) as caught:
        decode(topic, payload)
    assert caught.value.exit_code == 7
    assert caught.value.topic == topic
    return caught.value.problem


@pytest.mark.parametrize("topic", sorted(BY_TOPIC))
def test_each_field_is_needed(topic):
    """A missing one is not guessed, also when it could be null."""
    data = orjson.loads(encode(BY_TOPIC[topic]))

    for field in data:
        problem = unreadable(topic, orjson.dumps({name: value for name, value in data.items() if name != field}))
        assert field in problem


@pytest.mark.parametrize("topic", sorted(BY_TOPIC))
def test_no_other_field_is_let_in(topic):
    """The library's own mapper accepts them silently."""
    data = orjson.loads(encode(BY_TOPIC[topic]))

    assert "surprise" in unreadable(topic, orjson.dumps({**data, "surprise": None}))


WRONG = {"int": True, "bool": 1, "str": 1, "tuple": {"0": "a"}, "dict": ["a"], "datetime": 1_800_000_000}


@pytest.mark.parametrize("topic", sorted(BY_TOPIC))
def test_each_field_has_its_type(topic):
    """True is no integer, 1 is no boolean, a number is no text and no time."""
    data = orjson.loads(encode(BY_TOPIC[topic]))
    hints = get_type_hints(REGISTRY[topic], localns={"JsonObject": dict})

    for field in dataclasses.fields(REGISTRY[topic]):
        kind = hints[field.name]
        if type(None) in get_args(kind):
            kind = next(a for a in get_args(kind) if a is not type(None))
        name = getattr(get_origin(kind) or kind, "__name__", "")
        unreadable(topic, orjson.dumps({**data, field.name: WRONG.get(name, "text where a map belongs")}))
        unreadable(topic, orjson.dumps({**data, field.name: 1.5}))


@pytest.mark.parametrize(
    "expires",
    [
        "", "soon", "2027-11-23", "2027-11-23T20:34:56", "2027-11-23T20:34:56+00:00", "2027-11-23T20:34:56.000Z",
        "2027-11-23T20:34:56.5Z", "2027-11-23t20:34:56z", "2027-02-30T00:00:00Z", None,
    ],
)  # fmt: skip
def test_a_time_is_exactly_as_it_is_written(expires):
    """RFC 3339 in whole seconds UTC; what a user may type otherwise was never written here."""
    data = orjson.loads(encode(BY_TOPIC["root.published/1"]))

    unreadable("root.published/1", orjson.dumps({**data, "expires": expires}))


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"{", b"null", b"[]", b"1", b'"text"', b"\xff", b"\x00", b'{"wave":"v48"',
        b'{"wave":"v48"} {}', b"{'wave':'v48'}",
        b'{"wave":NaN}', b'{"wave":"\xed\xa0\x80"}', b"\xef\xbb\xbf" + b'{"wave":"v48"}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_payload_that_is_no_event(payload):
    """Not JSON, not a map, not UTF-8, or more than one document."""
    unreadable("wave.completed/1", payload)


def test_wrong_types_inside():
    """Elements of a list, fields of a record in a record."""
    canceled = orjson.loads(encode(BY_TOPIC["tag.wave-closed/1"]))
    canceled["recovered"][0]["version"] = "2000"

    assert "int" in unreadable("tag.wave-closed/1", orjson.dumps(canceled))
    assert "str" in unreadable("devices.staged/1", b'{"wave":"v48","rollout":1,"devices":["a",1]}')
    assert "dict" in unreadable("ci-targets.imported/1", b'{"source":"ci","targets":{"a":[]}}')


@pytest.mark.parametrize(
    "topic", ["wave.completed/2", "wave.completed/10", "wave.paused/1", "wave.completed", "", "os.system/1"]
)
def test_an_unknown_topic_was_written_by_a_newer_version(topic):
    """Refused with exit 7, and nothing that a row names is ever imported."""
    with pytest.raises(WrittenByNewerVersion) as caught:
        decode(topic, b'{"wave":"v48"}')

    assert caught.value.exit_code == 7
    assert caught.value.topic == topic


def test_topics_that_can_be_read_pass():
    """All of the registry, and what upcasters start from; one other is enough to stop."""
    require_known([])
    require_known([*REGISTRY, *UPCASTERS])
    with pytest.raises(WrittenByNewerVersion, match=r"wave\.completed/2"):
        require_known([*REGISTRY, "wave.completed/2"])


# every event there could be

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
_INTEGER = st.integers(-(2**63), 2**63 - 1)
_JSON = st.recursive(
    st.none() | st.booleans() | _INTEGER | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_PLAIN = {
    str: _TEXT,
    int: _INTEGER,
    bool: st.booleans(),
    type(None): st.none(),
    dict: st.dictionaries(_TEXT, _JSON, max_size=3),
    datetime: st.datetimes(datetime(1000, 1, 1), timezones=st.just(UTC)).map(lambda t: t.replace(microsecond=0)),  # noqa: DTZ001
}


def strategy(kind):
    """Any value of a type hint."""
    origin, arguments = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind, localns={"JsonObject": dict})
        return st.builds(kind, **{field.name: strategy(hints[field.name]) for field in dataclasses.fields(kind)})
    if origin is tuple:
        return st.lists(strategy(arguments[0]), max_size=3).map(tuple)
    if origin in (types.UnionType, Union):
        return st.one_of([strategy(argument) for argument in arguments])
    if origin is dict:
        return st.dictionaries(_TEXT, strategy(arguments[1]), max_size=3)
    return _PLAIN[kind]


@pytest.mark.property
@pytest.mark.parametrize("topic", sorted(REGISTRY))
def test_every_event_round_trips(topic):
    """Decoding undoes encoding, and encoding again gives the same bytes."""

    @settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @for_all(strategy(REGISTRY[topic]))
    def law(event):
        payload = encode(event)

        assert decode(topic, payload) == event
        assert encode(decode(topic, payload)) == payload

    law()


@pytest.mark.property
@settings(deadline=None)
@for_all(st.sampled_from(sorted(REGISTRY)), st.binary(max_size=60) | _JSON.map(orjson.dumps))
def test_no_payload_is_another_error(topic, payload):
    """Whatever a damaged row holds: unreadable, never a crash and never a refusal of a command."""
    try:
        event = decode(topic, payload)
    except EventUnreadable:
        return

    assert type(event) is REGISTRY[topic]


# upcasters

CHAIN = {
    "wave.ended/1": ("wave.ended/2", lambda data: {**data, "reason": None}),
    "wave.ended/2": ("wave.canceled/1", lambda data: {"wave": data["name"], "reason": data["reason"]}),
}


def test_upcasters_are_followed_to_the_end():
    """From whichever release a payload is."""
    today = ("wave.canceled/1", {"wave": "v48", "reason": None})

    assert upcast("wave.ended/1", {"name": "v48"}, CHAIN) == today
    assert upcast("wave.ended/2", {"name": "v48", "reason": None}, CHAIN) == today
    assert decode(today[0], orjson.dumps(upcast("wave.ended/1", {"name": "v48"}, CHAIN)[1])) == e.WaveCanceled(
        "v48", None
    )


def test_todays_shape_is_left_as_it_is():
    """No upcaster, no change, not even a copy."""
    data = {"wave": "v48", "reason": None}

    assert upcast("wave.canceled/1", data, CHAIN) == ("wave.canceled/1", data)
    assert upcast("wave.canceled/1", data)[1] is data


def test_every_upcaster_leads_to_a_known_topic():
    """And none starts from one that is written today."""
    for topic in UPCASTERS:
        end, seen = topic, set()
        while end in UPCASTERS:
            assert end not in seen
            seen.add(end)
            end = UPCASTERS[end][0]
        assert end in REGISTRY
        assert topic not in REGISTRY
