"""The model check of DESIGN §4, short. The long one is scripts/soak."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tests.modelcheck import check, steps
from tests.modelcheck.clients import NgClient, TufClient, TufJs
from tests.modelcheck.mutants import MUTANTS, WEIGHTS_OF
from tests.modelcheck.server import WebServer


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    """A web server on a port of its own."""
    made = WebServer()
    yield made
    made.close()


@pytest.fixture(scope="module")
def ngclient() -> Iterator[NgClient]:
    """The one of python-tuf."""
    made = NgClient()
    yield made
    made.close()


@pytest.fixture(scope="module")
def tuf_js() -> Iterator[TufJs]:
    """The one of npm."""
    made = TufJs()
    yield made
    made.close()


def carried_out(seed: int, length: int, server: WebServer, clients: Sequence[TufClient]) -> check.Check:
    """A history without any problem; else it is made small and told."""
    history = steps.draw(seed, length)
    done = check.run(history, seed, server, clients)
    if done.problems:
        raise check.explain(done, history, seed, server, clients)
    return done


def test_no_client_ever_fails(server: WebServer, ngclient: NgClient) -> None:
    """Whatever happens, also in the middle of a refresh: no error, no version down, what `devices show` announces."""
    counts = check.Counts()
    for seed in range(2, 6):  # one begins with nothing in production
        counts.add(carried_out(seed, 200, server, [ngclient]).counts)

    assert counts.refreshes["ngclient"] > 200  # it was worth the time
    assert counts.refreshes["ngclient, ledger changed meanwhile"] > 40
    assert counts.refreshes["compared with devices show"] > 150
    assert sum(counts.moves.values()) > 20


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 106))
def test_no_client_ever_fails_tuf_js(seed: int, server: WebServer, ngclient: NgClient, tuf_js: TufJs) -> None:
    """The same with a second implementation beside the first, device by device."""
    counts = carried_out(seed, 300, server, [ngclient, tuf_js]).counts

    assert min(counts.refreshes["ngclient"], counts.refreshes["tuf-js"]) > 20


@pytest.mark.parametrize("name", MUTANTS)
def test_the_check_finds_what_the_design_avoids(name: str, server: WebServer, ngclient: NgClient) -> None:
    """Negative controls: with each deliberate fault a client refuses, in the very same harness."""
    assert refusals(name, server, [ngclient]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_the_check_finds_what_the_design_avoids_tuf_js(name: str, server: WebServer, tuf_js: TufJs) -> None:
    """The other client refuses, too."""
    assert refusals(name, server, [tuf_js]) > 0


def refusals(name: str, server: WebServer, clients: Sequence[TufClient]) -> int:
    """How often a client refused, in a few histories or up to the first time."""
    for seed in range(47, 60):
        history = steps.draw(seed, 120, WEIGHTS_OF.get(name))
        done = check.run(history, seed, server, clients, mutant=MUTANTS[name], stop=frozenset({"refused"}))
        if done.counts.problems["refused"]:
            return done.counts.problems["refused"]
    return 0


def test_a_history_is_the_same_again(server: WebServer, ngclient: NgClient) -> None:
    """A seed says it all: what happened, and what the clients came to trust."""
    first, second = (check.run(steps.draw(7, 50), 7, server, [ngclient]) for _ in range(2))

    assert first.world.log == second.world.log
    assert first.counts == second.counts


def test_a_failing_history_is_made_small(server: WebServer, ngclient: NgClient) -> None:
    """What is left of a history that fails are the steps that make it fail, and they are told."""
    history = steps.draw(2, 60)
    failing = check.run(history, 2, server, [ngclient])
    failing.problems.append(check.Problem("refused", "as if"))

    told = str(check.explain(failing, history, 2, server, [ngclient], seconds=0))

    assert told.startswith("refused: as if")
    assert "seed 2, 60 of 60 steps" in told
    assert failing.world.log[-1] in told
    assert {step.action for step in list(steps.without_kinds(history))[1][:-1]}.isdisjoint({"poll"})
    assert next(iter(steps.without(history, 30))) == history[:30]
    assert [len(smaller) for smaller in steps.without(history[:5], 2)] == [3, 3, 4]
