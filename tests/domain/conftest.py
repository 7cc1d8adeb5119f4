"""Given these events, when this command, then these events or this error: no store, no files, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.domain.errors import EXIT_CODES, LedgerError

EXPIRES = datetime(2027, 11, 23, tzinfo=UTC)


@dataclass(frozen=True)
class Outcome:
    """What a command came to: its result, or the error that it was refused with."""

    result: Any
    error: LedgerError | None

    def then(self, *events: object) -> None:
        """It came to exactly these events."""
        assert self.error is None, f"refused: {self.error}"
        assert events == tuple(_flat(self.result))

    def refused(self, kind: type[LedgerError], exit_code: int = 3, **fields: object) -> None:
        """It was refused with this error, these fields and this exit code."""
        assert type(self.error) is kind, f"expected {kind.__name__}, got {self.error!r}"
        assert fields.items() <= vars(self.error).items()
        assert exit_code == self.error.exit_code
        assert exit_code in EXIT_CODES
        assert self.error.render_hint().count("{") == 0


@dataclass(frozen=True)
class Given:
    """A state that a command meets."""

    state: Any

    def when(self, decide: Callable[..., Any], *arguments: object, **named: object) -> Outcome:
        """Let it decide on the state."""
        try:
            return Outcome(decide(self.state, *arguments, **named), None)
        except LedgerError as error:
            return Outcome(None, error)


def _flat(result: Any) -> Iterator[Any]:
    if isinstance(result, tuple | list):
        for item in result:
            yield from _flat(item)
    else:
        yield result


@pytest.fixture(scope="session")
def scenario() -> Callable[..., Callable[..., Given]]:
    """From an evolve function and a first state to ``given(*events)``."""

    def of(evolve: Callable[[Any, Any], Any], start: Any) -> Callable[..., Given]:
        def given(*events: Any) -> Given:
            state = start
            for event in events:
                state = evolve(state, event)
            return Given(state)

        return given

    return of


@pytest.fixture(scope="session")
def given_state() -> type[Given]:
    """For modules whose state is facts instead of events."""
    return Given


@pytest.fixture(scope="session")
def expires() -> datetime:
    return EXPIRES
