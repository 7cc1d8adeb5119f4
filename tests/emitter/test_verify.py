"""What `tuf verify` finds and what it finds no fault with: python-tuf's client on trees that were tampered with."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from tuf.api.exceptions import RepositoryError

from ledger.application import keys
from ledger.codec import decode
from ledger.domain.errors import NotFound
from ledger.domain.events import MetadataPublished, VersionsRaised
from ledger.domain.values import from_epoch
from ledger.store import events
from projections.tuf import checkup, inspection, known, pool, publish
from projections.tuf.destination import DestinationUnusable, Directory
from projections.tuf.objects import open_url
from projections.tuf.verify import Finding, Start, refresh
from tests.projections.history import ACTIONS, History
from tests.support import DAY, HOUR, LIFETIME_SECONDS, START, Factory, device, files

PRODUCTION, WAVE = "production/release", "wave/w2"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Factory]:
    """A published factory: w1 is production, w2 is rolled out, and all of it was refreshed once."""
    factory = Factory(tmp_path_factory.mktemp("base") / "ledger.db")
    tree = Directory(factory.path.with_name("tree"))
    factory.build(1, 2, 3, hardware=["arm64"])
    factory.register(device("a"), device("b"))
    factory.init("w1", 1)
    factory.rollout("w1", uuids=["a"])
    factory.publish(tree)
    factory.complete("w1")
    factory.publish(tree)
    factory.init("w2", 2)
    factory.rollout("w2", uuids=["a"])
    factory.publish(tree)
    factory.wait(4 * DAY)
    factory.publish(tree, refresh=True)
    yield factory
    factory.close()


@pytest.fixture
def factory(base: Factory, tmp_path: Path) -> Iterator[Factory]:
    """One of this test's own."""
    made = base.copy(tmp_path / "ledger.db")
    yield made
    made.close()


@pytest.fixture
def place(base: Factory, tmp_path: Path) -> Directory:
    """Its tree, with the links in it."""
    subprocess.run(["cp", "-a", str(base.path.with_name("tree")), str(tmp_path / "tree")], check=True)
    return Directory(tmp_path / "tree")


def look(factory: Factory, place: Directory, *, ledger: bool = True, now: int | None = None) -> checkup.Report:
    """Verify, with the ledger or without."""
    engine = factory.engine if ledger else None
    when = from_epoch(factory.now if now is None else now)
    return checkup.check_tree(place.read, inspection.paths_of(place), engine, now=when)


def kinds(findings: list[Finding]) -> set[tuple[str, str]]:
    """Views and kinds."""
    return {(found.view, found.kind) for found in findings}


def part(place: Directory, path: str) -> None:
    """Make a file one of its own, so that changing it does not change what it is linked to."""
    file = place.root / path
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data)


def damage(place: Directory, path: str) -> None:
    """Change a signature in a file, and with it in all files that are linked to it."""
    file = place.root / path
    data = file.read_bytes()
    at = data.index(b'"sig":"') + len(b'"sig":"')
    changed = b"0" if data[at : at + 1] != b"0" else b"1"
    with file.open("r+b") as handle:
        handle.write(data[:at] + changed + data[at + 1 :])


def newest(place: Directory, view: str) -> tuple[int, int]:
    """The versions of a view's snapshot and targets."""
    snapshot = inspection.versions_of(place.read, view)
    signed = orjson.loads(place.read(f"{view}/{snapshot}.snapshot.json") or b"")["signed"]
    return snapshot, signed["meta"]["targets.json"]["version"]


def test_a_sound_tree_has_no_findings(factory: Factory, place: Directory) -> None:
    """All views from nothing and from all earlier states; without the ledger from nothing."""
    report = look(factory, place)

    assert report.findings == []
    assert {found.view: (found.version, found.targets_version) for found in report.checked} == {
        view: newest(place, view) for view in ("ci/main", PRODUCTION, "wave/w1", WAVE)
    }
    assert {found.view: found.starts for found in report.checked}[WAVE] == 2  # nothing, and the newest of all it saw
    alone = look(factory, place, ledger=False)
    assert alone.findings == []
    assert {found.starts for found in alone.checked} == {1}


def test_what_a_kill_left_behind_is_no_finding(factory: Factory, place: Directory) -> None:
    """Temporary files, and files that are not metadata of ours, are left alone."""
    (place.root / PRODUCTION / ".timestamp.json.tmp").write_bytes(b"half")
    (place.root / "pool" / PRODUCTION / ".9.snapshot.json.tmp").write_bytes(b"half")
    (place.root / PRODUCTION / "README").write_bytes(b"hello")
    (place.root / "index.html").write_bytes(b"hello")
    (place.root / "ci" / "not a view").mkdir()

    assert look(factory, place).findings == []
    assert look(factory, place, ledger=False).findings == []


def tampered_timestamp(place: Directory) -> None:
    damage(place, f"{WAVE}/timestamp.json")


def tampered_snapshot(place: Directory) -> None:
    part(place, path := f"{WAVE}/{newest(place, WAVE)[0]}.snapshot.json")
    damage(place, path)


def tampered_targets(place: Directory) -> None:
    part(place, path := f"{WAVE}/{newest(place, WAVE)[1]}.targets.json")
    damage(place, path)


def tampered_pool(place: Directory) -> None:
    damage(place, f"pool/{PRODUCTION}/{newest(place, WAVE)[1]}.targets.json")  # linked: the view's own is the same file


def tampered_root(place: Directory) -> None:
    part(place, f"{WAVE}/1.root.json")
    shutil.copyfile(place.root / "ci/main/1.root.json", place.root / WAVE / "1.root.json")


def missing_file(place: Directory) -> None:
    (place.root / WAVE / f"{newest(place, WAVE)[0]}.snapshot.json").unlink()


def missing_root(place: Directory) -> None:
    (place.root / WAVE / "1.root.json").unlink()


def missing_timestamp(place: Directory) -> None:
    (place.root / WAVE / "timestamp.json").unlink()


def forged_link(place: Directory) -> None:
    path = place.root / WAVE / f"{newest(place, WAVE)[1]}.targets.json"
    path.unlink()
    os.link(place.root / PRODUCTION / f"{newest(place, PRODUCTION)[1]}.targets.json", path)


def forged_root(place: Directory) -> None:
    shutil.copyfile(place.root / WAVE / "1.root.json", place.root / WAVE / "2.root.json")


# What was done; what a client says of the wave's view; what is said of the files with the ledger, and without.
TAMPERED: list[tuple[Callable[[Directory], None], set[str], set[str], set[str]]] = [
    (tampered_timestamp, {"UnsignedMetadataError"}, {"OtherBytes"}, set()),
    (tampered_snapshot, {"LengthOrHashMismatchError"}, {"OtherBytes"}, {"NotAsInPool", "OtherHash"}),
    (tampered_targets, {"LengthOrHashMismatchError"}, {"OtherBytes"}, {"NotAsInPool", "OtherHash"}),
    (tampered_pool, {"LengthOrHashMismatchError"}, {"OtherBytes"}, {"OtherHash"}),
    (tampered_root, {"UnsignedMetadataError"}, {"OtherBytes"}, {"NotAsInPool"}),
    (missing_file, {"DownloadHTTPError"}, {"MissingFile"}, {"MissingFile"}),
    (missing_root, set(), {"MissingFile"}, {"MissingFile"}),
    (missing_timestamp, {"DownloadHTTPError"}, {"MissingFile"}, set()),
    (forged_link, {"LengthOrHashMismatchError"}, {"OtherBytes"}, {"NotAsInPool", "OtherHash"}),
    (forged_root, {"BadVersionNumberError"}, {"UnknownFile"}, {"NotAsInPool"}),
]


@pytest.mark.parametrize(
    ("tamper", "client", "with_ledger", "without"), TAMPERED, ids=[case[0].__name__ for case in TAMPERED]
)
def test_tampering_is_found(
    factory: Factory,
    place: Directory,
    tamper: Callable[[Directory], None],
    client: set[str],
    with_ledger: set[str],
    without: set[str],
) -> None:
    """What a client refuses and what the files say, with a ledger at hand and without; other views are well."""
    tamper(place)

    found, alone = look(factory, place).findings, look(factory, place, ledger=False).findings
    assert {kind for _, kind in kinds(found)} - client == with_ledger
    assert {kind for _, kind in kinds(alone)} - client == without
    for findings in (found, alone):
        by_client = [one for one in findings if one.start]
        assert client <= {one.kind for one in by_client}
        assert {one.view for one in by_client} <= {WAVE}
        assert {one.view for one in findings} <= {WAVE, f"pool/{PRODUCTION}"}


def test_a_version_that_went_down(factory: Factory, place: Directory) -> None:
    """An old timestamp that was put back satisfies new clients only: those that saw a newer one refuse it."""
    old = place.read(f"{PRODUCTION}/timestamp.json")
    before = newest(place, PRODUCTION)[0]
    factory.wait(4 * DAY)
    factory.publish(place, refresh=True)
    seen = newest(place, PRODUCTION)
    (place.root / PRODUCTION / "timestamp.json").write_bytes(old or b"")

    assert look(factory, place, ledger=False, now=factory.now - DAY).findings == []
    findings = look(factory, place, now=factory.now - DAY).findings
    assert kinds(findings) == {(PRODUCTION, "Behind"), (PRODUCTION, "BadVersionNumberError")}
    refused = next(found for found in findings if found.kind == "BadVersionNumberError")
    assert refused.start == Start(1, PRODUCTION, *seen)
    assert f"{before} must be >= {seen[0]}" in refused.message


def test_an_equal_version_with_other_bytes(factory: Factory, place: Directory) -> None:
    """Clients silently keep a timestamp of the same number, and so would miss what this one leads to."""
    path = place.root / PRODUCTION / "timestamp.json"
    signed = orjson.loads(path.read_bytes())["signed"]
    data = orjson.dumps(signed | {"expires": "2099-01-01T00:00:00Z"}, option=orjson.OPT_SORT_KEYS)
    signer = factory.keys.online["production.timestamp"]
    signature = {"keyid": signer.keyid, "sig": signer.sign(data)}
    path.write_bytes(b'{"signatures":[%s],"signed":%s}' % (orjson.dumps(signature), data))

    assert look(factory, place, ledger=False).findings == []
    assert kinds(look(factory, place).findings) == {(PRODUCTION, "OtherBytes"), (PRODUCTION, "Stale")}


def test_expired_by_the_clients_clock(factory: Factory, place: Directory) -> None:
    """With --now a week from now all live views have expired, said once for each; closed ones may."""
    report = look(factory, place, now=factory.now + 7 * DAY)

    assert sorted(kinds(report.findings)) == [(view, "ExpiredMetadataError") for view in ("ci/main", PRODUCTION, WAVE)]
    assert len(report.findings) == 3
    assert {found.message for found in report.findings} == {"timestamp.json is expired"}
    alone = look(factory, place, ledger=False, now=factory.now + 7 * DAY)
    assert kinds(alone.findings) == kinds(report.findings)
    root = look(factory, place, now=START + LIFETIME_SECONDS + DAY).findings
    assert {found.message for found in root} == {"Final root.json is expired"}


@pytest.mark.parametrize("ledger", [True, False], ids=["with the ledger", "without"])
def test_a_canceled_waves_view_may_expire(factory: Factory, place: Directory, *, ledger: bool) -> None:
    """It stays as it was, beside the held view that its devices are sent to; any other view that expired is found."""
    factory.report(("a", "arm64-lmp-2", None))
    factory.cancel("w2")
    factory.publish(place)
    factory.wait(4 * DAY)
    factory.publish(place, refresh=True)

    assert (place.root / WAVE / "timestamp.json").is_file()
    assert look(factory, place, ledger=ledger, now=factory.now + 3 * DAY + 1).findings == []
    late = kinds(look(factory, place, ledger=ledger, now=factory.now + 8 * DAY).findings)
    assert late == {(view, "ExpiredMetadataError") for view in ("held/w2", PRODUCTION, "ci/main")}


def test_an_expired_past_is_no_finding(factory: Factory, place: Directory) -> None:
    """Devices that slept for months come back with metadata that expired long ago."""
    factory.wait(200 * DAY)
    factory.publish(place, refresh=True)

    report = look(factory, place)
    assert report.findings == []
    assert {found.starts for found in report.checked if found.view in {PRODUCTION, WAVE}} == {2}


def test_views_that_are_missing_or_nobodys(factory: Factory, place: Directory) -> None:
    """A live view that is gone, and one that the ledger never published."""
    shutil.copytree(place.root / PRODUCTION, place.root / "production" / "beta")
    shutil.rmtree(place.root / WAVE)

    assert kinds(look(factory, place).findings) == {(WAVE, "MissingView"), ("production/beta", "UnknownView")}


def test_a_tree_behind_its_ledger(factory: Factory, place: Directory) -> None:
    """What is recorded and not written yet is said once for each view; no device can have seen it.

    A canceled wave's view stays as it is.
    """
    factory.cancel("w2")
    publish.publish(factory.ledger, factory.online)

    findings = look(factory, place).findings
    assert kinds(findings) == {(PRODUCTION, "Behind"), ("held/w2", "MissingView")}
    factory.publish(place)
    assert look(factory, place).findings == []


def test_an_older_ledger(factory: Factory, place: Directory, tmp_path: Path) -> None:
    """A ledger from a backup knows less than the tree."""
    older = factory.copy(tmp_path / "older.db")
    factory.publish(place, force=True, refresh=True)

    findings = look(older, place).findings
    assert {(view, "Ahead") for view in ("ci/main", PRODUCTION, WAVE)} <= kinds(findings)
    assert {kind for _, kind in kinds(findings)} == {"Ahead", "UnknownFile"}
    older.close()


def test_an_old_file_of_the_pool(factory: Factory, place: Directory) -> None:
    """What nothing leads to any more is checked as well: some client may be in the middle of a refresh."""
    damage(place, f"pool/{PRODUCTION}/1.snapshot.json")

    found = look(factory, place).findings
    assert (f"pool/{PRODUCTION}", "OtherBytes") in kinds(found)
    assert not any(one.start for one in found)


def test_each_later_root_is_a_start(factory: Factory, place: Directory) -> None:
    """A device may be made with any root of the chain; a chain that breaks is told from where on."""
    for number in range(3):
        expires = from_epoch(START + LIFETIME_SECONDS) + timedelta(days=number + 1)
        keys.renew_root(factory.ledger, factory.facts, expires, [factory.keys.root])
        factory.publish(place)

    report = look(factory, place, ledger=False)
    assert report.findings == []
    assert {found.root_version for found in report.checked if found.view in {PRODUCTION, WAVE}} == {4}
    assert sorted(found.starts for found in report.checked) == [1, 1, 1, 4]  # once a chain: views share it
    assert look(factory, place).findings == []

    damage(place, f"pool/{PRODUCTION}/3.root.json")
    findings = [found for found in look(factory, place, ledger=False).findings if found.view == PRODUCTION]
    assert {found.start.root_version for found in findings if found.start} == {1, 2, 3}


def test_nothing_there(tmp_path: Path) -> None:
    """An empty directory has no files; one that can't be read is an error of its own."""
    assert inspection.paths_of(Directory(tmp_path)) == []
    (tmp_path / "production" / "x" / "1.root.json").mkdir(parents=True)
    broken = Directory(tmp_path)
    with pytest.raises(DestinationUnusable):
        checkup.check_tree(broken.read, inspection.paths_of(broken), None)
    assert not issubclass(DestinationUnusable, NotFound)


# the states that stand for all


def every_past(factory: Factory, repository: str) -> list[known.Past]:
    """Every state that a device can have been left in by a publication, thousands of them in a long history."""
    with factory.ledger.reading() as connection:
        rows = events.read(connection, stream=f"publication:{repository.replace('/', ':', 1)}")
        publications = [event for row in rows if isinstance(event := decode(row.topic, row.payload), MetadataPublished)]
        reader = {d.version: d for publication in publications for d in publication.documents}
        roots = dict(known.state.roots(connection, repository.partition("/")[0]))
        return [
            known.Past(
                Start(publication.root_version, view.view, view.version, view.targets_version),
                roots[publication.root_version],
                {
                    "timestamp.json": view.timestamp.encode(),
                    "snapshot.json": view.snapshot.encode(),
                    "targets.json": pool.document_file(connection, repository, reader[view.targets_version]),
                },
            )
            for publication in publications
            for view in publication.views
        ]


def refused(place: Directory, view: str, pasts: list[known.Past], now: int) -> bool:
    """Whether a client that comes from one of them would refuse the view."""
    for past in pasts:
        try:
            refresh(place.read, view, past.root, now=from_epoch(now), local=past.files)
        except RepositoryError:
            return True
    return False


@pytest.mark.parametrize("seed", [2, 5])
def test_few_states_stand_for_all(tmp_path: Path, seed: int) -> None:
    """On a sound tree and on one whose timestamp was set back, the few states find what all of history finds."""
    chance = random.Random(seed)
    factory = Factory(tmp_path / "ledger.db")
    history = History(factory)
    history.start()
    place = Directory(tmp_path / "tree")
    old: dict[str, list[bytes]] = {}
    for step in range(50):
        history.act(chance.choice(ACTIONS), tuple(chance.randrange(1000) for _ in range(4)))  # type: ignore[arg-type]
        if step == 30:
            expires = from_epoch(factory.now + LIFETIME_SECONDS)
            keys.renew_root(factory.ledger, factory.facts, expires, [factory.keys.root])
        factory.publish(place, refresh=True)
        for path, data in files(place.root).items():
            if path.endswith("timestamp.json") and data not in old.setdefault(path, []):
                old[path].append(data)
    factory.publish(place, refresh=True, force=True)
    assert look(factory, place).findings == []

    live = {of.repository: of for of in checkup._known(place.read, place.views(), factory.engine)}
    tried = 0
    for repository, of in live.items():
        everything = every_past(factory, repository)
        for view in of.live:
            routed = [p for p in everything if known.may_come(str(p.start.view), view, of.routed, of.canceled)]
            assert len(of.pasts[view]) <= len(routed)
            assert not refused(place, view, routed, factory.now)
            for data in chance.sample(old[f"{view}/timestamp.json"], k=min(3, len(old[f"{view}/timestamp.json"]))):
                now = (place.root / view / "timestamp.json").read_bytes()
                (place.root / view / "timestamp.json").write_bytes(data)
                expected = refused(place, view, routed, START)
                assert expected == refused(place, view, of.pasts[view], START)
                (place.root / view / "timestamp.json").write_bytes(now)
                tried += expected
    assert tried > 3
    factory.close()


@pytest.mark.parametrize(
    ("source", "to", "may"),
    [
        ("production/r", "wave/w", True),
        ("wave/w", "wave/w", True),
        ("wave/old", "wave/w", True),
        ("held/h", "wave/w", True),
        ("wave/w", "production/r", False),  # membership in an active wave is sticky
        ("wave/old", "production/r", True),
        ("held/h", "production/r", True),  # who reports another target
        ("held/gone", "production/r", True),
        ("wave/h", "held/h", True),
        ("wave/canceled", "held/h", True),  # back to where it came from
        ("wave/old", "held/h", False),
        ("production/r", "held/h", False),
        ("held/other", "held/h", False),
        ("production/r", "ci/r", False),
    ],
)
def test_routes(source: str, to: str, may: bool) -> None:
    """Where devices can be sent from one publication to the next."""
    live = ("production/r", "held/h", "held/other", "wave/w")
    assert known.may_come(source, to, live, {"h", "canceled", "gone"}) is may


def test_a_tree_behind_a_url(factory: Factory) -> None:
    """Whatever the emitter can publish to can be looked at, by listing and reading alone."""
    memory = open_url(f"memory://verify-{id(factory)}")
    assert inspection.paths_of(memory) == []
    factory.publish(memory)

    now = from_epoch(factory.now)
    assert checkup.check_tree(memory.read, inspection.paths_of(memory), factory.engine, now=now).findings == []
    memory.remove(WAVE)
    found = checkup.check_tree(memory.read, inspection.paths_of(memory), factory.engine, now=now).findings
    assert kinds(found) == {(WAVE, "MissingView")}


def test_files_of_a_lost_ledger(factory: Factory, place: Directory, tmp_path: Path) -> None:
    """After numbers were raised above what a lost ledger gave out, what it left behind is no finding."""
    older = factory.copy(tmp_path / "older.db")
    for _ in range(2):
        factory.wait(1)
        factory.publish(place, refresh=True, force=True)
    lost = {view: inspection.versions_of(place.read, view) for view in (WAVE, "ci/main")}
    older.wait(DAY)
    with older.ledger.writing() as session:
        session.append("publication:production:release", [VersionsRaised(PRODUCTION, lost[WAVE], 0)])
        session.append("publication:ci:main", [VersionsRaised("ci/main", lost["ci/main"], 0)])
    older.publish(place)

    assert look(older, place).findings == []
    older.close()


@pytest.mark.parametrize("repository", [PRODUCTION, "ci/main"])
def test_a_new_place_after_numbers_were_raised(factory: Factory, tmp_path: Path, repository: str) -> None:
    """Publications after a raise may show targets from before it: whoever starts with a new place gets these, too."""
    stream = f"publication:{repository.replace('/', ':', 1)}"
    with factory.ledger.writing() as session:
        session.append(stream, [VersionsRaised(repository, 100, 0)])
    for number, fresh in enumerate((Directory(tmp_path / "fresh"), open_url(f"memory:/{tmp_path}"))):
        factory.wait(HOUR)
        factory.publish(fresh, refresh=True, force=bool(number))
        now = from_epoch(factory.now)
        paths = inspection.paths_of(fresh)
        assert checkup.check_tree(fresh.read, paths, factory.engine, now=now).findings == []
        assert f"{repository}/timestamp.json" in paths
