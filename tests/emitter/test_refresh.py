"""Refreshes: the CI root's renewal, repositories in trouble, two machines, and what expires next."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from tuf.api.exceptions import ExpiredMetadataError

from ledger.application import ciroot
from ledger.domain.values import from_epoch
from ledger.session import Ledger
from ledger.store import events
from ledger.tuf.online import OnlineKeys
from projections import runner
from projections.queries import expiry
from projections.tuf import emitter, publish, state, verify
from projections.tuf.destination import DestinationAhead, DestinationHasOtherBytes, Directory
from tests.support import DAY, HOUR, LIFETIME_SECONDS, Client, Factory, device, files

HALF_LIFE = 7 * DAY // 2
HALF_ROOT = LIFETIME_SECONDS // 2


@pytest.fixture
def running(factory: Factory, tree: Directory) -> Factory:
    """Production, a wave on its way, and two CI tags, published."""
    factory.build(1, 2, 3)
    factory.build(4, tags=["qa"])
    factory.register(device("a", group="canary"), device("b"), device("t", tag="main", production=False))
    factory.init("w1", 1, days=3650)
    factory.complete("w1")
    factory.init("w2", 2, days=3650)
    factory.rollout("w2", group="canary")
    factory.publish(tree)
    return factory


def refresh(factory: Factory, tree: Directory, **options: bool) -> emitter.Attempt:
    """What `tuf refresh` does."""
    return emitter.attempt(factory.ledger, factory.online, tree, refresh=True, **options)


def ci_roots(factory: Factory) -> list[dict]:
    """The signed parts of the CI root chain."""
    with factory.ledger.reading() as connection:
        return [orjson.loads(data)["signed"] for _, data in state.roots(connection, "ci")]


# the CI root


def test_the_ci_root_is_renewed_at_half_of_its_life(running: Factory, tree: Directory, tmp_path: Path) -> None:
    """Not a second before; then once, with the same keys for another year, and every client follows."""
    old, new = Client(tmp_path / "old"), Client(tmp_path / "new")
    old.poll(tree, "ci/main", "ci/main", running.now)
    running.wait(HALF_ROOT - 1)
    assert refresh(running, tree).ci_root is None

    running.wait(1)
    assert running.publish(tree).repositories == []  # publishing alone renews nothing
    running.actor = "cron"
    assert refresh(running, tree, dry_run=True) == ((["ci/main", "ci/qa"], []), 2, [])
    came = refresh(running, tree)

    assert (came.ci_root, came.problems) == (2, [])
    assert came.emitted.repositories == ["ci/main", "ci/qa"]
    first, second = ci_roots(running)
    assert (second["version"], second["roles"], second["keys"]) == (2, first["roles"], first["keys"])
    assert second["x-waveledger"] == first["x-waveledger"]
    with running.ledger.reading() as connection:
        row = list(events.read(connection, stream="trust"))[-1]
    assert (row.topic, row.actor) == ("root.published/1", "cron")
    assert (tree.root / "ci/main/2.root.json").is_file()
    for client in (old, new):
        client.poll(tree, "ci/main", "ci/main", running.now)
    running.wait(HALF_ROOT - DAY)  # the old root has a day left
    assert refresh(running, tree).ci_root == 3
    running.wait(2 * DAY)
    for client in (old, new, Client(tmp_path / "from-the-factory")):
        client.poll(tree, "ci/main", "ci/main", running.now)
    assert running.differences() == []


def test_a_ci_root_that_expired_heals(running: Factory, tree: Directory, tmp_path: Path) -> None:
    """A refresh that comes too late is not too late for clients with an expired root."""
    client = Client(tmp_path / "device")
    client.poll(tree, "ci/main", "ci/main", running.now)
    running.wait(LIFETIME_SECONDS + DAY)
    with pytest.raises(ExpiredMetadataError):
        client.poll(tree, "ci/main", "ci/main", running.now)

    refresh(running, tree)

    client.poll(tree, "ci/main", "ci/main", running.now)


def test_without_its_key_the_ci_root_is_left_alone(running: Factory, tree: Directory) -> None:
    """Timestamps are refreshed all the same on a machine that has not got the CI root's key."""
    pairs = [pair for name, pair in running.keys.online.items() if name != "ci.root"]
    running.online = OnlineKeys([*pairs, running.keys.ledger], "memory")
    running.wait(HALF_ROOT)

    came = refresh(running, tree)

    assert (came.ci_root, came.problems) == (None, [])
    assert came.emitted.repositories == ["ci/main", "ci/qa", "production/release"]


def test_two_machines_renew_one_root(running: Factory) -> None:
    """Who reads the old root and is overtaken appends nothing."""
    running.wait(HALF_ROOT)

    class Late(Ledger):
        """Somebody else renews after this one has read."""

        def writing(self, *, dry_run: bool = False):  # type: ignore[no-untyped-def]
            ciroot.renew(running.ledger, running.facts, running.online)
            return super().writing(dry_run=dry_run)

    late = Late(running.engine, [runner.Projector()], "bob", running.now)

    assert ciroot.renew(late, running.facts, running.online) is None
    assert [root["version"] for root in ci_roots(running)] == [1, 2]


# repositories in trouble


@pytest.mark.parametrize("kind", ["other bytes", "ahead"])
def test_a_destination_in_trouble_with_one_repository(running: Factory, tree: Directory, kind: str) -> None:
    """The others are signed and written; the one is neither, and is told once."""
    running.wait(HALF_LIFE)
    path = tree.root / "production/release/timestamp.json"
    data = path.read_bytes()
    if kind == "ahead":
        version = orjson.loads(data)["signed"]["version"]
        path.write_bytes(data.replace(b'"version":%d' % version, b'"version":%d' % (version + 900)))
    else:
        path.write_bytes(data.replace(b'"sig":"', b'"sig":"00', 1))
    damaged = path.read_bytes()

    came = refresh(running, tree)

    expected = DestinationAhead if kind == "ahead" else DestinationHasOtherBytes
    assert [type(problem) for problem in came.problems] == [expected]
    assert came.emitted == (["ci/main", "ci/qa"], ["ci/main", "ci/qa"])
    assert path.read_bytes() == damaged
    with running.ledger.reading() as connection:
        assert state.due(connection, running.now, refresh=True) == ["production/release"]
    path.write_bytes(data)
    assert refresh(running, tree).emitted.repositories == ["production/release"]


def test_a_key_that_is_not_there(running: Factory, tree: Directory) -> None:
    """Without one repository kind's key the other kind is refreshed, and the problem names the key."""
    pairs = [pair for name, pair in running.keys.online.items() if name != "production.timestamp"]
    running.online = OnlineKeys([*pairs, running.keys.ledger], "memory")
    running.wait(HALF_LIFE)

    came = refresh(running, tree)

    assert came.emitted.repositories == ["ci/main", "ci/qa"]
    assert [(type(p).__name__, p.exit_code) for p in came.problems] == [("OnlineKeyMissing", 8)]


def test_an_expired_production_document(running: Factory, tree: Directory) -> None:
    """What only an offline key can renew fails alone; the timestamps of all are fresh."""
    running.register(device("x", tag="beta"))
    running.init("b1", 1, tag="beta", days=3)
    running.complete("b1")
    running.publish(tree)
    running.wait(HALF_LIFE)

    came = refresh(running, tree)

    assert came.emitted.repositories == ["ci/main", "ci/qa", "production/beta", "production/release"]
    assert ["production/beta: ExpiredMetadataError" in str(problem) for problem in came.problems] == [True]
    views = ["ci/main", "ci/qa", "production/release", "wave/w2"]
    assert verify.check_views(tree, views, now=from_epoch(running.now))[1] == []


# two machines


def test_who_was_overtaken_signs_nothing(running: Factory, tree: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that read what was due before another one signed it signs nothing of it again."""
    monkeypatch.setattr(publish, "BATCH", 1)  # else all three are read and recorded together
    running.wait(HALF_LIFE)
    others: list[list[str]] = []

    def meanwhile(done: int, todo: int) -> None:
        """After the first repository the other machine does all the rest."""
        assert todo == 3
        if done == 1:
            others.append(publish.publish(running.ledger, running.online, refresh=True).repositories)

    came = emitter.attempt(running.ledger, running.online, tree, refresh=True, progress=meanwhile)

    assert others == [["ci/qa", "production/release"]]
    assert (came.emitted.repositories, came.problems) == (["ci/main"], [])
    assert sorted(came.emitted.views) == ["ci/main", "ci/qa", "production/release", "wave/w2"]
    with running.ledger.reading() as connection:
        assert events.stream_version(connection, "publication:production:release") == 2


def test_a_destination_that_another_machine_advanced(running: Factory, tree: Directory) -> None:
    """Between the looks at ledger and destination somebody published: no trouble, and nothing is lost."""
    running.wait(HALF_LIFE)

    class Watched(Directory):
        """Somebody else publishes to the same place before the first look at it."""

        advanced = False

        def read(self, path: str) -> bytes | None:
            if not self.advanced:
                self.advanced = True
                refresh(running, tree)
            return super().read(path)

    before = files(tree.root)

    came = refresh(running, Watched(tree.root))

    assert came == (([], []), None, [])
    assert files(tree.root) != before


# what expires next


def test_what_expires_next(running: Factory, tree: Directory) -> None:
    """The first of all that a client would refuse, and when a refresh will have something to do."""
    with running.ledger.reading() as connection:
        first = expiry.expiries(connection)[0]
        before = expiry.refresh_before(connection)
    assert (first.what, first.expires) == ("the timestamp of view ci/main", running.now + 7 * DAY)
    assert before == running.now + HALF_LIFE
    assert before is not None

    running.now = before - 1
    assert refresh(running, tree).emitted.repositories == []
    running.now = before
    assert refresh(running, tree).emitted.repositories != []

    running.init("w3", 3, tag="beta", days=3)  # waits for its rollout
    with running.ledger.reading() as connection:
        first = expiry.expiries(connection)[0]
    assert first.what == "the targets of wave w3, not rolled out yet,"
    running.wait(HOUR)


def test_nothing_published_expires_never(factory: Factory) -> None:
    """A new ledger has roots, and nothing to refresh."""
    with factory.ledger.reading() as connection:
        assert {e.kind for e in expiry.expiries(connection)} == {expiry.Kind.CI_ROOT, expiry.Kind.PRODUCTION_ROOT}
        assert expiry.refresh_before(connection) is None
