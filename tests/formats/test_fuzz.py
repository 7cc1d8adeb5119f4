"""Whatever comes from outside, a parser answers, or refuses with an error of ours; nothing is written, nothing hangs.

Inputs are good ones with hostile pieces put in, and what was found or thought of before, kept in ``corpus/``.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.domain.errors import EXIT_CODES, LedgerError
from tests.formats.parsers import CORPUS, HOSTILE, PARSERS, seeds

SECONDS = 20  # far more than any of these small inputs may take, on a machine that does other things as well

edits = st.lists(
    st.tuples(
        st.integers(0, 1000),
        st.integers(0, 40),
        st.sampled_from(HOSTILE) | st.binary(max_size=3) | st.text(max_size=3).map(str.encode),
    ),
    min_size=1,
    max_size=4,
)


def outcome(parser: str, data: bytes) -> LedgerError | None:
    """How a parser refuses these bytes; None if it takes them."""
    with tempfile.TemporaryDirectory() as directory:
        began = time.monotonic()
        problem = _refusal(parser, data, Path(directory))
        assert time.monotonic() - began < SECONDS
        assert len(list(Path(directory).iterdir())) <= 1, "a parser writes nothing"
    if problem:
        told = [str(problem), problem.render_hint()]
        assert problem.exit_code in set(EXIT_CODES) - {0, 1}
        assert all(told), "an error has something to say, and a next step"
        assert sum(map(len, told)) < 2000, "a message is not as long as what it is about"
    return problem


def _refusal(parser: str, data: bytes, place: Path) -> LedgerError | None:
    try:
        PARSERS[parser](data, place)
    except LedgerError as problem:
        return problem
    return None


def edited(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """Put pieces in, at places given in thousandths, each instead of so many bytes."""
    for place, cut, piece in changes:
        at = len(data) * place // 1000
        data = data[:at] + piece + data[at + cut :]
    return data


def fuzz(parser: str, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(seed=st.sampled_from(seeds(parser)), changes=edits)
    def tried(seed: bytes, changes: list[tuple[int, int, bytes]]) -> None:
        outcome(parser, edited(seed, changes))

    tried()


@pytest.mark.property
@pytest.mark.parametrize("parser", PARSERS)
def test_good_input_with_hostile_pieces(parser: str) -> None:
    """Good input is taken, or refused for what it lacks; with anything put in it, there is no other end either."""
    for seed in seeds(parser):
        outcome(parser, seed)
    fuzz(parser, 15)


@pytest.mark.slow
@pytest.mark.property
@pytest.mark.parametrize("parser", PARSERS)
def test_much_input_with_hostile_pieces(parser: str) -> None:
    """The same, hundreds of times for each parser."""
    fuzz(parser, 300)


@pytest.mark.parametrize("parser", PARSERS)
def test_what_was_found_before(parser: str) -> None:
    """Each input of the corpus ends as it did when it was kept; there are some for every parser."""
    inputs = [path for path in sorted((CORPUS / parser).glob("*/*")) if path.is_file()]
    ended = {path: outcome(parser, path.read_bytes()) for path in inputs}

    assert inputs
    assert [path for path, problem in ended.items() if (problem is None) != (path.parts[-2] == "accepted")] == []
