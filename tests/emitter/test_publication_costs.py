"""What a publication asks the ledger for, counted: each document and each publication once, and few transactions."""

from __future__ import annotations

import pytest

from ledger.tuf import documents
from projections.tuf import emitter
from projections.tuf.destination import Directory
from tests.emitter.stages import under_way
from tests.projections.test_costs import asked
from tests.stores import about_files
from tests.support import DAY, Factory, device

pytestmark = about_files


@pytest.fixture
def running(factory: Factory, tree: Directory) -> Factory:
    """A wave on its way to the canaries, over an earlier production, published."""
    under_way(factory)
    factory.publish(tree)
    return factory


def costs_of(factory: Factory, tree: Directory) -> list[str]:
    """The statements of what a wave command publishes."""
    with asked(factory) as work:
        came = emitter.attempt(factory.ledger, factory.online, tree, everything=False)
    assert came.problems == []
    assert came.emitted.views
    return [statement for statement in work.statements if not statement.startswith("PRAGMA")]


def counted(statements: list[str], part: str) -> int:
    """How many of the statements have that in them."""
    return sum(part in statement for statement in statements)


def test_a_complete_reads_no_document(running: Factory, tree: Directory) -> None:
    """The wave's document was shown by the wave: what production says of it is known, and its file is there."""
    running.complete("w2")

    statements = costs_of(running, tree)

    assert counted(statements, "'wave:") == 0


def test_a_cancel_reads_its_documents_once(running: Factory, tree: Directory) -> None:
    """The recovery document needs the targets of the wave before, to be signed; not those of the wave that ends."""
    running.cancel("w2")

    statements = costs_of(running, tree)

    assert counted(statements, "'wave:w2'") == 0
    assert counted(statements, "stream = 'wave:w1'") == 1


def test_a_document_becomes_a_file_once(running: Factory, tree: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """To be signed for; to be written it is at hand."""
    running.cancel("w2")
    made: list[bytes] = []
    monkeypatch.setattr(
        documents, "file_bytes", lambda signed, by, to=documents.file_bytes: made.append(signed) or to(signed, by)
    )

    costs_of(running, tree)

    assert len([signed for signed in made if b'"_type":"targets"' in signed]) == 1
    assert len(made) == len(set(made))


@pytest.mark.parametrize(("end", "most"), [("complete", 8), ("cancel", 9)])
def test_a_wave_action_takes_few_transactions(running: Factory, tree: Directory, end: str, most: int) -> None:
    """Reading what is due, what to sign, what to write; two that write; and each document for its file."""
    getattr(running, end)("w2")

    statements = costs_of(running, tree)

    assert counted(statements, "BEGIN") <= most
    assert len(statements) <= 72


def test_a_refresh_of_more_tags_takes_as_many_transactions(factory: Factory, tree: Directory) -> None:
    """Repositories are read and recorded together: each one more costs a handful of statements, and no transaction."""
    counts: dict[int, tuple[int, int]] = {}
    factory.build(1, 2)
    for tag in range(8):
        factory.register(device(f"d{tag}", tag=f"tag{tag}"))
        factory.init(f"w{tag}", 1, f"tag{tag}")
        factory.complete(f"w{tag}")
        if tag in {3, 7}:
            factory.publish(tree)
            factory.wait(4 * DAY)
            with asked(factory) as work:
                factory.publish(tree, refresh=True)
            counts[tag + 1] = counted(work.statements, "BEGIN"), len(work.statements)

    assert counts[8][0] == counts[4][0]
    assert counts[8][1] - counts[4][1] <= 12 * 4
