"""Lifetimes, refreshes, races, and destinations that do not belong to the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
from tuf.api.exceptions import BadVersionNumberError, ExpiredMetadataError

from ledger.domain.values import from_epoch
from ledger.session import Ledger, Session
from ledger.store import events
from ledger.tuf import documents
from projections import runner
from projections.tuf import publish, verify
from projections.tuf.destination import DestinationAhead, DestinationHasOtherBytes, Directory
from tests.emitter.publishers import polls_while_two_publish
from tests.emitter.stages import under_way
from tests.support import DAY, HOUR, START, Client, Factory, files

HALF_LIFE = 7 * DAY // 2


@pytest.fixture
def running(factory: Factory, tree: Directory) -> Factory:
    """A wave on its way over an earlier production, published."""
    under_way(factory)
    factory.publish(tree)
    return factory


def timestamp(tree: Directory, view: str) -> int:
    data = tree.read(f"{view}/timestamp.json")
    assert data is not None
    version = orjson.loads(data)["signed"]["version"]
    assert isinstance(version, int)
    return version


def test_refresh_waits_for_half_of_the_life(running: Factory, tree: Directory) -> None:
    """A refresh signs nothing one second before half of the timestamps' life, and all at that second."""
    head = running.head()
    running.wait(HALF_LIFE - 1)
    assert running.publish(tree, refresh=True) == ([], [])
    assert running.head() == head

    running.wait(1)
    assert running.publish(tree).repositories == []
    came = running.publish(tree, refresh=True)

    assert came.repositories == ["ci/main", "production/release"]
    assert sorted(came.views) == ["ci/main", "production/release", "wave/w2"]


def test_force_signs_everything(running: Factory, tree: Directory) -> None:
    """With --force all views get their next number at once, and clients follow."""
    client = Client(tree.root.parent / "client")
    client.poll(tree, "wave/w2", "production/release", running.now)
    before = timestamp(tree, "production/release"), timestamp(tree, "wave/w2")

    running.publish(tree, refresh=True, force=True)

    assert (timestamp(tree, "production/release"), timestamp(tree, "wave/w2")) == (before[0] + 2, before[1] + 2)
    client.poll(tree, "wave/w2", "production/release", running.now)


def test_timestamps_live_seven_days_and_heal(running: Factory, tree: Directory) -> None:
    """After seven days without a refresh every client fails closed; the next refresh heals all of them."""
    client = Client(tree.root.parent / "client")
    client.poll(tree, "wave/w2", "production/release", running.now)
    views = verify.find_views(tree.root)
    assert views == ["ci/main", "production/release", "wave/w2"]
    running.wait(7 * DAY - 1)
    assert verify.check_views(tree, views, now=from_epoch(running.now))[1] == []

    running.wait(2)
    _, findings = verify.check_views(tree, views, now=from_epoch(running.now))
    assert [(f.view, f.kind) for f in findings] == [(view, "ExpiredMetadataError") for view in views]
    with pytest.raises(ExpiredMetadataError):
        client.poll(tree, "wave/w2", "production/release", running.now)

    running.publish(tree, refresh=True)
    assert verify.check_views(tree, views, now=from_epoch(running.now))[1] == []
    client.poll(tree, "wave/w2", "production/release", running.now)


def test_a_closed_view_lives_eight_days(running: Factory, tree: Directory) -> None:
    """A closed view gets one last copy of production, and goes when its timestamp has been expired for a day."""
    running.complete("w2")
    running.publish(tree)
    closed_at = running.now
    last = tree.read("wave/w2/timestamp.json")
    assert last == tree.read("production/release/timestamp.json")
    while running.now < closed_at + 8 * DAY - HOUR:
        running.wait(HOUR)
        running.publish(tree, refresh=True)
        assert tree.read("wave/w2/timestamp.json") == last

    running.wait(HOUR)
    running.publish(tree, refresh=True)
    assert not (tree.root / "wave/w2").exists()
    before = files(tree.root)
    running.publish(tree, refresh=True)
    assert files(tree.root) == before


def test_a_canceled_waves_view_is_left_as_it_was(running: Factory, tree: Directory, tmp_path: Path) -> None:
    """Who polls it once more before going to the held view must not meet production's document, which is above it."""
    client = Client(tmp_path / "client")
    client.poll(tree, "wave/w2", "production/release", running.now)
    last = tree.read("wave/w2/timestamp.json")
    running.report(("a", "arm64-lmp-2", None))
    running.cancel("w2")

    running.publish(tree)

    assert tree.read("wave/w2/timestamp.json") == last
    found = client.poll(tree, "wave/w2", "production/release", running.now)
    assert running.shown("a").view == "held/w2"
    assert client.poll(tree, "held/w2", "production/release", running.now) == found
    while (tree.root / "wave/w2").exists():
        running.wait(DAY)
        running.publish(tree, refresh=True)
    assert running.now >= START + 8 * DAY


def test_a_closed_view_that_expired_is_no_failure(running: Factory, tree: Directory, tmp_path: Path) -> None:
    """A closed view whose last timestamp has expired is as it should be: a mirror of it is made without complaint."""
    running.cancel("w2")
    running.publish(tree)
    running.wait(4 * DAY)
    running.publish(tree, refresh=True)
    running.wait(3 * DAY + HOUR)  # production is fresh, the closed view expired an hour ago
    running.publish(tree, refresh=True)
    mirror = Directory(tmp_path / "mirror")

    running.publish(mirror, keys=False)

    assert files(mirror.root) == files(tree.root)


def test_a_removed_view_is_not_made_again(running: Factory, tree: Directory) -> None:
    """Publishing after a removal neither makes the view again for a moment nor writes anything at all."""
    running.cancel("w2")
    running.publish(tree)
    running.wait(9 * DAY)
    running.publish(tree, refresh=True)
    touched: list[str] = []

    class Watched(Directory):
        def link(self, source: str, path: str) -> None:
            if not self.exists(path):
                touched.append(path)
            super().link(source, path)

        def replace(self, path: str, data: bytes) -> None:
            touched.append(path)
            super().replace(path, data)

    running.publish(Watched(tree.root))

    assert touched == []


def test_a_cancel_without_recovery_locks_clients_out(running: Factory, tree: Directory) -> None:
    """The negative control: fresh timestamps over the old document are refused by whoever saw the wave's."""
    control, client = (Client(tree.root.parent / name) for name in ("control", "client"))
    for each in (control, client):
        each.poll(tree, "wave/w2", "production/release", running.now)
    old = orjson.loads(tree.read("production/release/timestamp.json") or b"")["signed"]["version"]
    snapshot = orjson.loads(tree.read(f"production/release/{old}.snapshot.json") or b"")["signed"]
    shown = snapshot["meta"]["targets.json"]["version"]
    document = tree.read(f"production/release/{shown}.targets.json")
    assert document is not None
    expires = from_epoch(running.now + DAY)
    version = timestamp(tree, "wave/w2") + 1

    def signed(role: str, data: bytes) -> bytes:
        pair = running.keys.online[f"production.{role}"]
        return documents.file_bytes(data, [(pair.keyid, pair.sign(data))])

    file = signed("snapshot", documents.snapshot_signed(version, expires, shown, documents.FileMeta.of(document), None))
    stamp = signed("timestamp", documents.timestamp_signed(version, expires, version, file))
    naive = Directory(tree.root.parent / "naive")
    for path, data in files(tree.root).items():
        naive.replace(path, data)
    naive.replace(f"production/release/{version}.snapshot.json", file)
    naive.replace("production/release/timestamp.json", stamp)

    with pytest.raises(BadVersionNumberError):
        control.poll(naive, "production/release", "production/release", running.now)
    with pytest.raises(BadVersionNumberError):  # and it stays so
        control.poll(naive, "production/release", "production/release", running.now)
    running.cancel("w2")
    running.publish(tree)
    found = client.poll(tree, "production/release", "production/release", running.now)
    assert found == ("amd64-lmp-1", "arm64-lmp-1")


def test_going_back_to_an_old_timestamp_is_refused(running: Factory, tree: Directory) -> None:
    """The other negative control: production's timestamp of the same publication is below the wave's."""
    client = Client(tree.root.parent / "client")
    client.poll(tree, "wave/w2", "production/release", running.now)

    with pytest.raises(BadVersionNumberError):
        client.poll(tree, "production/release", "production/release", running.now)


def test_a_destination_that_is_ahead(running: Factory, tree: Directory, tmp_path: Path) -> None:
    """A ledger restored from a backup never publishes over what it does not know."""
    restored = running.copy(tmp_path / "restored.db")
    running.publish(tree, refresh=True, force=True)
    before = files(tree.root)

    with pytest.raises(DestinationAhead) as caught:
        restored.publish(tree)

    shown = timestamp(tree, caught.value.path.removesuffix("/timestamp.json"))
    assert shown == caught.value.found > caught.value.known
    restored.wait(1)  # and when it goes on in another way, it gives the same numbers to other bytes
    restored.complete("w2")
    with pytest.raises((DestinationHasOtherBytes, DestinationAhead)):
        restored.publish(tree)
    assert {path: data for path, data in files(tree.root).items() if path in before} == before
    restored.close()


@pytest.mark.parametrize("kind", ["root", "targets", "snapshot", "timestamp"])
def test_a_destination_with_other_bytes(running: Factory, tree: Directory, kind: str) -> None:
    """A file that holds other bytes than the ledger's under the same version is refused, and left as it is."""
    path = next(
        path
        for path in files(tree.root)
        if (path == "production/release/timestamp.json" if kind == "timestamp" else path.startswith("pool/production"))
        and kind in path
    )
    data = files(tree.root)[path]
    changed = data.replace(b'"sig":"', b'"sig":"00', 1)
    (tree.root / path).write_bytes(changed)

    with pytest.raises(DestinationHasOtherBytes):
        running.publish(tree)

    assert (tree.root / path).read_bytes() == changed


def test_a_lost_race_is_run_again(running: Factory, tree: Directory) -> None:
    """Who signs, and finds that somebody else has published meanwhile, reads again and succeeds."""
    running.complete("w2")
    competitor_ran = 0

    class Late(Ledger):
        """Somebody else is faster, once: after this one signed, before it appends."""

        @contextmanager
        def writing(self, *, dry_run: bool = False) -> Iterator[Session]:
            nonlocal competitor_ran
            if not competitor_ran:
                competitor_ran = 1
                publish.publish(running.ledger, running.online)
                running.init("w3", 3)
                running.rollout("w3", uuids=["b"])
            with super().writing(dry_run=dry_run) as session:
                yield session

    late = Late(running.engine, [runner.Projector()], "alice", running.now)
    publish.publish(late, running.online)
    running.publish(tree)

    with running.ledger.reading() as connection:
        rows = list(events.read(connection, stream="publication:production:release"))
    assert len(rows) == 3  # the first, the competitor's, and one that has the new wave
    assert running.shown("b").published
    assert verify.check_views(tree, ["production/release", "wave/w3"], now=from_epoch(running.now))[1] == []


def test_two_publishers_at_once(running: Factory, tree: Directory, tmp_path: Path) -> None:
    """Two publishers that sign and write all the time disturb neither each other nor any client."""
    clients = {"production/release": Client(tmp_path / "p"), "wave/w2": Client(tmp_path / "w")}

    def poll() -> None:
        for view, client in clients.items():
            client.poll(tree, view, "production/release", running.now)

    polls = polls_while_two_publish(running, lambda: Directory(tree.root), 6, poll)
    assert polls > 5
    fresh = Directory(tmp_path / "fresh")
    running.publish(fresh, keys=False)
    assert files(fresh.root) == files(tree.root)


def test_a_closed_view_may_expire(running: Factory, tree: Directory) -> None:
    """It is not found fault with in its last day; a live view that nobody refreshed is."""
    running.complete("w2")
    running.publish(tree)
    running.wait(4 * DAY)
    running.publish(tree, refresh=True)
    running.wait(3 * DAY + HOUR)

    now = from_epoch(running.ledger.now)
    views = verify.find_views(tree.root)
    _, findings = verify.check_views(tree, views, now=now)
    assert "wave/w2" in views
    assert findings == []

    running.wait(4 * DAY)
    _, findings = verify.check_views(tree, views, now=from_epoch(running.ledger.now))
    assert {finding.view for finding in findings} == {"ci/main", "production/release"}


def test_an_expired_view_without_its_snapshot_is_not_taken_for_a_closed_one(running: Factory, tree: Directory) -> None:
    """That no production view has the file either does not make it production's."""
    running.wait(8 * DAY)
    version = timestamp(tree, "wave/w2")
    (tree.root / "wave" / "w2" / f"{version}.snapshot.json").unlink()

    _, findings = verify.check_views(tree, verify.find_views(tree.root), now=from_epoch(running.ledger.now))

    assert "wave/w2" in {finding.view for finding in findings}
