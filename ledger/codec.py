"""Between events and the bytes in the ledger.

Rules of this module:

* The registry is closed: a topic names a class in `ledger.domain.events` or nothing. What a row says is never
  imported (the library's own `resolve_topic` would).
* Bytes are orjson's: fields in declared order, maps with sorted keys. They are hashed and kept as they were first
  written, never encoded again.
* Decoding is strict: a missing, unknown or wrongly typed field is an unreadable event, not a guess.
* A topic of a known word with a version above ours was written by a newer version of this program.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeAlias, Union, get_args, get_origin, get_type_hints

import orjson

from ledger.domain.errors import LedgerError, StorageFailure
from ledger.domain.events import EVENTS, Event
from ledger.domain.values import format_time, parse_time
from ledger.upcasters import UPCASTERS, upcast

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS
_PLAIN = frozenset({str, int, bool, types.NoneType})
_SHOWN = 200  # characters of what is damaged, in a message
_Read: TypeAlias = Callable[[Any], Any]


class EventUnreadable(StorageFailure):
    """A payload that is not what its topic says."""

    message = "an event {topic} cannot be read: {problem}"
    hint = "the ledger was damaged or changed by hand: run 'waveledger audit verify' and restore from a backup"
    topic: str
    problem: str


class WrittenByNewerVersion(StorageFailure):
    """A topic that this version of the program does not know."""

    message = "the ledger holds an event {topic}, written by a newer version of waveledger"
    hint = "upgrade waveledger on this machine"
    topic: str


REGISTRY: dict[str, type[Event]] = {cls.topic: cls for cls in EVENTS}
KNOWN = tuple(sorted(REGISTRY.keys() | UPCASTERS.keys()))


def require_known(topics: Iterable[str]) -> None:
    """Pass topics that this program can read. Raises: WrittenByNewerVersion."""
    for topic in topics:
        if topic not in REGISTRY and topic not in UPCASTERS:
            raise WrittenByNewerVersion(topic=topic[:_SHOWN])


def encode(event: Event) -> bytes:
    """The payload of an event: its fields as JSON, times as RFC 3339."""
    return orjson.dumps(event, option=_OPTIONS)


def decode(topic: str, payload: bytes) -> Event:
    """The event of a payload, in today's shape.

    Raises: EventUnreadable, WrittenByNewerVersion.
    """
    try:
        data = orjson.loads(payload)
    except ValueError as problem:
        raise EventUnreadable(topic=topic[:_SHOWN], problem=str(problem)) from None
    topic, data = upcast(topic, data)
    if topic not in REGISTRY:
        raise WrittenByNewerVersion(topic=topic[:_SHOWN])
    try:
        event: Event = _reader(REGISTRY[topic])(data)
    except (TypeError, ValueError, KeyError, LedgerError) as problem:
        raise EventUnreadable(topic=topic, problem=str(problem)[:_SHOWN]) from None
    return event


_readers: dict[Any, _Read] = {}


def _reader(kind: Any) -> _Read:
    """The strict reader of a type, made once: dataclass, tuple, map, optional or plain value."""
    if kind not in _readers:
        _readers[kind] = _make_reader(kind)
    return _readers[kind]


def _make_reader(kind: Any) -> _Read:
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple:
        return _tuple_reader(arguments[0])
    if origin in (types.UnionType, Union):
        inner = _reader(next(a for a in arguments if a is not types.NoneType))
        return lambda value: None if value is None else inner(value)
    if origin is dict:
        inner = _reader(arguments[1])
        return lambda value: {name: inner(item) for name, item in _exactly(dict, value).items()}
    if kind is datetime:
        return _read_time
    return lambda value: _exactly(kind, value)


def _tuple_reader(kind: Any) -> _Read:
    element = _reader(kind)
    optional = get_origin(kind) in (types.UnionType, Union)
    plain = frozenset(get_args(kind) if optional else (kind,))
    if not plain <= _PLAIN:
        return lambda value: tuple(map(element, _exactly(list, value)))

    def read(value: Any) -> Any:
        # One look at all types: a batch of devices has thousands of values. The reader says what is wrong.
        return tuple(value if plain.issuperset(map(type, _exactly(list, value))) else map(element, value))

    return read


def _dataclass_reader(cls: Any) -> _Read:
    hints = get_type_hints(cls, localns={"JsonObject": dict})  # JSON inside an event is data: kept as it is
    readers = {field.name: _reader(hints[field.name]) for field in dataclasses.fields(cls)}

    def read(value: Any) -> Any:
        data = _exactly(dict, value)
        if data.keys() != readers.keys():
            wrong = sorted(data.keys() ^ readers.keys())
            raise ValueError(f"{cls.__name__} has unknown or missing fields: {', '.join(wrong)}")
        return cls(**{name: reader(data[name]) for name, reader in readers.items()})

    return read


def _exactly(kind: type, value: Any) -> Any:
    # type() and not isinstance(): True is an int to Python, and must not be one here.
    if type(value) is not kind:
        raise ValueError(f"expected {kind.__name__}, found {type(value).__name__}")
    return value


def _read_time(value: Any) -> datetime:
    moment = parse_time(_exactly(str, value))
    if format_time(moment) != value:
        raise ValueError(f"{value!r} is not a time in whole seconds UTC")
    return moment
