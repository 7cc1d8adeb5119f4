"""A ledger in which something of everything happened, and an attacker who has its database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from projections.audit.findings import Finding
from projections.audit.history import Audit
from projections.tuf.publish import publish
from tests.audit.attacker import Attacker
from tests.support import DAY, Factory, device

Copies = Callable[[], Factory]


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Factory]:
    """The ledger, made once; its newest events are published, so nothing can be changed without a trace."""
    made = Factory(tmp_path_factory.mktemp("audited") / "ledger.db", holders=2, threshold=3)
    live(made)
    yield made
    made.close()


def live(factory: Factory) -> None:
    """Waves that complete, that are canceled after a rollout and that wait, new keys, and publications of all of it."""
    factory.build(1, 2, 3, 4)
    factory.register(*[device(f"d{n}", group=("canary", "lab", None)[n % 3], production=n < 8) for n in range(9)])
    signed_wave(factory, "w1", 1)
    factory.rollout("w1", group="canary")
    publish(factory.ledger, factory.online)
    factory.report(("d0", "arm64-lmp-1", None))
    factory.complete("w1")
    factory.set(["d0"], group="lab")
    signed_wave(factory, "w2", 2)
    factory.rollout("w2", limit="2")
    factory.report(("d1", "arm64-lmp-2", None))
    publish(factory.ledger, factory.online)
    factory.cancel("w2")
    publish(factory.ledger, factory.online)
    factory.wait(9 * DAY)
    publish(factory.ledger, factory.online, refresh=True)
    factory.remove("d3")
    factory.prune("amd64-lmp-4")
    factory.rotate_online("timestamp")
    factory.rotate_offline("targets")
    factory.rotate_ci("targets")
    factory.resign("release", days=500)
    signed_wave(factory, "w3", 3, prune=(1,))
    factory.rollout("w3", uuids=["d4", "d5"])
    factory.init("w4", 4, "beta")
    factory.wait(DAY)
    publish(factory.ledger, factory.online, force=True)


def signed_wave(factory: Factory, name: str, number: int, **options: object) -> None:
    """A wave that both holders signed."""
    factory.init(name, number, **options)  # type: ignore[arg-type]
    factory.sign(name)


def audit(factory: Factory, **options: object) -> list[Finding]:
    """All findings but those about triggers, which an attacker removes before anything else."""
    return [f for f in Audit(factory.engine, **options).findings() if f.kind != "database"]  # type: ignore[arg-type]


@pytest.fixture
def copies(lived: Factory, tmp_path: Path) -> Iterator[Copies]:
    """A new copy of the ledger, each time it is called."""
    made: list[Factory] = []

    def copy() -> Factory:
        made.append(lived.copy(tmp_path / f"copy{len(made)}.db"))
        return made[-1]

    yield copy
    for factory in made:
        factory.close()


@pytest.fixture
def attacker(copies: Copies) -> Attacker:
    """Somebody who has a copy of the database and has removed its triggers."""
    return Attacker(copies())
