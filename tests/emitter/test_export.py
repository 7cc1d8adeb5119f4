"""Offline bundles: what devices do with them, before and after they come online, and what is refused."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from tuf.api.exceptions import BadVersionNumberError, ExpiredMetadataError
from tuf.ngclient import Updater

from ledger.application import keys
from ledger.codec import decode
from ledger.domain.errors import LedgerError
from ledger.domain.events import BundleExported, VersionsRaised
from ledger.domain.values import from_epoch
from ledger.session import Ledger, Session
from ledger.store import events
from ledger.tuf.errors import OnlineKeyMissing
from ledger.tuf.online import OnlineKeys
from projections import runner
from projections.tuf import bundle, checkup, export, inspection, publish, state
from projections.tuf.destination import Directory
from projections.tuf.verify import DestinationFetcher, Start
from tests.support import DAY, LIFETIME_SECONDS, START, Client, Factory, device, files

PRODUCTION = "production/release"
STREAM = "publication:production:release"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Factory]:
    """A published factory: number 1 is production, wave w2 is rolled out to a. The tree is beside its ledger."""
    made = Factory(tmp_path_factory.mktemp("base") / "ledger.db")
    made.build(1, 2, 3, hardware=["arm64"])
    made.register(device("a"), device("b"))
    made.init("w1", 1)
    made.complete("w1")
    made.init("w2", 2)
    made.rollout("w2", uuids=["a"])
    made.publish(Directory(made.path.with_name("tree")))
    yield made
    made.close()


@pytest.fixture
def running(base: Factory, tree: Directory) -> Iterator[Factory]:
    """One of this test's own, with its tree."""
    made = base.copy(tree.root.with_name("ledger.db"))
    shutil.copytree(base.path.with_name("tree"), tree.root)
    yield made
    made.close()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the bundle will be."""
    return tmp_path / "usb" / "bundle"


def make(factory: Factory, name: str, place: Path, **options: int | bool) -> export.Exported:
    """Export, with the factory's online keys."""
    return export.export(factory.ledger, factory.online, name, place, **options)  # type: ignore[arg-type]


def exported(factory: Factory) -> list[BundleExported]:
    """The bundles that the ledger knows of."""
    with factory.ledger.reading() as connection:
        found = [decode(row.topic, row.payload) for row in events.read(connection, topics=[BundleExported.topic])]
    return [event for event in found if isinstance(event, BundleExported)]


def take(client: Client, place: Path, now: int) -> tuple[str, ...]:
    """A device takes a bundle: its own TUF client, with nothing but the directory."""
    metadata = client.directory / PRODUCTION
    first = not metadata.exists()
    metadata.mkdir(parents=True, exist_ok=True)
    updater = Updater(
        str(metadata),
        "tree:///",
        fetcher=DestinationFetcher(bundle.reader(place)),
        bootstrap=(place / "1.root.json").read_bytes() if first else None,
    )
    trusted = updater._trusted_set
    trusted.reference_time = from_epoch(now)
    updater.refresh()
    client.seen[PRODUCTION] = (trusted.timestamp.version, trusted.targets.version)
    return tuple(sorted(trusted.targets.targets))


def findings(factory: Factory, place: Path, *, now: int | None = None, ledger: bool = True) -> list[tuple[str, str]]:
    """What is wrong with a bundle."""
    engine = factory.engine if ledger else None
    found = bundle.check(bundle.reader(place), engine, from_epoch(now or factory.now))[1]
    return [(one.kind, str(one.start or "")) for one in found]


@pytest.mark.parametrize(
    ("name", "view", "found"),
    [
        ("release", PRODUCTION, ("arm64-lmp-1",)),
        (PRODUCTION, PRODUCTION, ("arm64-lmp-1",)),
        ("w2", "wave/w2", ("arm64-lmp-1", "arm64-lmp-2")),
    ],
)
def test_a_new_device_takes_it(
    running: Factory, place: Path, name: str, view: str, found: tuple[str, ...], tmp_path: Path
) -> None:
    """A client with nothing but the root takes it for 30 days, longer than anything online lives, and no longer."""
    came = make(running, name, place)

    assert came.chosen.view == view
    assert take(Client(tmp_path / "new"), place, running.now) == found
    assert take(Client(tmp_path / "later"), place, running.now + 30 * DAY - 1) == found
    with pytest.raises(ExpiredMetadataError):
        take(Client(tmp_path / "late"), place, running.now + 30 * DAY)
    assert findings(running, place) == []
    assert findings(running, place, ledger=False) == []
    assert findings(running, place, now=running.now + 31 * DAY) == [("ExpiredMetadataError", "nothing but root 1")]


def test_what_it_holds(running: Factory, place: Path) -> None:
    """The root chain, three files and a list; the list says what to bring along."""
    running.import_targets([])
    event = make(running, "release", place).event

    assert event is not None
    names = {"1.root.json", f"{event.bundle.version}.snapshot.json", "1000.targets.json", "timestamp.json"}
    assert {path.name for path in place.iterdir()} == names | {"bundle.json"}
    document = orjson.loads((place / "bundle.json").read_bytes())
    size, _ = running.head()
    assert document.pop("targets") == [
        {
            "name": "arm64-lmp-1",
            "length": 101,
            "hashes": {"sha256": hashlib.sha256(b"arm64-lmp-1").hexdigest()},
            "version": "1",
            "hardware_ids": ["arm64"],
            "uri": None,
            "apps_uri": None,
        }
    ]
    assert document.pop("ledger")["position"] == size - 1
    assert document == {
        "format": "waveledger-bundle/1",
        "factory": "acme",
        "repository": PRODUCTION,
        "tag": "release",
        "wave": None,
        "view": PRODUCTION,
        "version": event.bundle.version,
        "targets_version": 1000,
        "root_version": 1,
        "created_at": "2027-01-15T08:00:00Z",
        "created_by": "alice",
        "expires": "2027-02-14T08:00:00Z",
    }
    assert exported(running) == [event]


def test_the_list_says_where_content_is() -> None:
    """The addresses that CI gave, of the image and of its apps."""
    custom = {"uri": "https://ci/1", "fetched-apps": {"uri": "https://apps/1"}, "hardwareIds": ["x"], "version": "1"}
    target = {"length": 1, "hashes": {"sha256": "ab"}, "custom": custom}
    file = orjson.dumps({"signed": {"targets": {"b": target, "a": {"length": 2, "hashes": {}}}}})

    a, b = bundle.list_targets(file)
    assert (a["name"], a["uri"], a["hardware_ids"]) == ("a", None, [])
    assert (b["name"], b["uri"], b["apps_uri"], b["version"]) == ("b", "https://ci/1", "https://apps/1", "1")


def test_from_the_bundle_to_online(running: Factory, tree: Directory, place: Path, tmp_path: Path) -> None:
    """A device that comes online from a bundle: refused until the next publication, which is due, and well after it."""
    make(running, "release", place)
    client = Client(tmp_path / "device")
    take(client, place, running.now)
    with pytest.raises(BadVersionNumberError):
        client.poll(tree, PRODUCTION, PRODUCTION, running.now)
    report = checkup.check_tree(tree.read, inspection.paths_of(tree), running.engine, now=from_epoch(running.now))
    start = Start(1, PRODUCTION, client.seen[PRODUCTION][0], 1000, bundle=True)
    assert {(f.view, f.kind, f.start) for f in report.findings} == {
        (PRODUCTION, "BadVersionNumberError", start),
        ("wave/w2", "BadVersionNumberError", start),  # it may be rolled out to
    }

    with running.ledger.reading() as connection:
        assert state.due(connection, running.now) == [PRODUCTION]
    running.publish(tree)
    before = client.seen[PRODUCTION]
    client.poll(tree, PRODUCTION, PRODUCTION, running.now)
    assert client.seen[PRODUCTION][0] > before[0]
    client.poll(tree, "wave/w2", PRODUCTION, running.now)
    assert running.publish(tree) == ([], [])  # once is enough
    report = checkup.check_tree(tree.read, inspection.paths_of(tree), running.engine, now=from_epoch(running.now))
    assert report.findings == []


def test_from_online_to_the_bundle(running: Factory, tree: Directory, place: Path, tmp_path: Path) -> None:
    """A device that was online before takes it; one that saw anything newer refuses it, as it must."""
    early, late = Client(tmp_path / "early"), Client(tmp_path / "late")
    early.poll(tree, PRODUCTION, PRODUCTION, running.now)
    make(running, "w2", place)
    running.publish(tree)
    late.poll(tree, PRODUCTION, PRODUCTION, running.now)

    assert take(early, place, running.now) == ("arm64-lmp-1", "arm64-lmp-2")
    early.poll(tree, "wave/w2", PRODUCTION, running.now)
    with pytest.raises(BadVersionNumberError):
        take(late, place, running.now)
    assert findings(running, place) == []  # that is no fault of the bundle


def test_all_through_two_waves(running: Factory, tree: Directory, tmp_path: Path) -> None:
    """A device of the waves that gets every bundle, and goes online after each, never sees a number go down."""
    client = Client(tmp_path / "device")
    seen = [(0, 0)]

    def both(name: str, view: str) -> None:
        bundled = tmp_path / f"bundle-{len(seen)}"
        make(running, name, bundled, days=20)
        found = take(client, bundled, running.now)
        seen.append(client.seen[PRODUCTION])
        running.publish(tree, refresh=True)
        assert client.poll(tree, view, PRODUCTION, running.now) == found
        seen.append(client.seen[PRODUCTION])
        running.wait(4 * DAY)

    both("release", PRODUCTION)
    both("w2", "wave/w2")
    both("w2", "wave/w2")
    running.complete("w2")
    both("release", PRODUCTION)
    running.init("w3", 3)
    running.rollout("w3", uuids=["a"])
    both("w3", "wave/w3")
    running.cancel("w3")
    both("release", PRODUCTION)

    assert [version for version, _ in seen] == sorted({version for version, _ in seen})
    assert [version for _, version in seen] == sorted(version for _, version in seen)
    assert runner.verify(running.engine, "releases") == []


def test_a_held_view(running: Factory, tree: Directory, place: Path, tmp_path: Path) -> None:
    """The bundle of a canceled wave is that of the devices that are held on it."""
    running.report(("a", "arm64-lmp-2", running.now))
    running.cancel("w2")
    running.publish(tree)

    assert make(running, "w2", place).chosen.view == "held/w2"
    assert take(Client(tmp_path / "held"), place, running.now) == ("arm64-lmp-1", "arm64-lmp-2")
    assert findings(running, place) == []


def test_what_is_due_is_published_first(running: Factory, place: Path, tmp_path: Path) -> None:
    """A bundle shows what was decided, published or not; the ledger has the publication before the bundle."""
    running.complete("w2")
    _, before = running.head()

    dry = make(running, "release", place, dry_run=True)
    assert (dry.published, dry.event, running.head()[1], place.parent.exists()) == (True, None, before, False)
    assert [target["name"] for target in dry.targets] == ["arm64-lmp-1", "arm64-lmp-2"]

    came = make(running, "release", place)
    assert came.published
    assert take(Client(tmp_path / "device"), place, running.now) == ("arm64-lmp-1", "arm64-lmp-2")
    with running.ledger.reading() as connection:
        topics = [row.topic for row in events.read(connection, stream=STREAM)]
    assert topics == ["metadata.published/1", "metadata.published/1", "bundle.exported/1"]
    assert not make(
        running, "release", place.with_name("again")
    ).published  # a second bundle needs no other publication


def test_a_new_root_is_in_it(running: Factory, place: Path, tmp_path: Path) -> None:
    """A bundle brings the whole root chain, also to devices that know an old root only."""
    expires = from_epoch(START + LIFETIME_SECONDS) + timedelta(days=1)
    keys.renew_root(running.ledger, running.facts, expires, [running.keys.root])

    make(running, "release", place)
    assert {path.name for path in place.iterdir()} >= {"1.root.json", "2.root.json"}
    take(Client(tmp_path / "device"), place, running.now)
    checked, problems = bundle.check(bundle.reader(place), running.engine, from_epoch(running.now))
    assert problems == []
    assert (checked[0].root_version, checked[0].starts) == (2, 4)  # two roots, and what devices saw under each


# when it expires


def test_targets_bound_its_life(running: Factory, place: Path) -> None:
    """It can't outlive its targets: an explicit wish is refused with the date and the way out, the default gives in."""
    running.init("beta", 3, "beta", days=10)
    running.complete("beta")
    with pytest.raises(export.BundleOutlives) as caught:
        make(running, "production/beta", place, days=11)
    assert "its targets document expires at 2027-01-25T08:00:00Z" in str(caught.value)
    assert "--expires-in-days 10 is possible" in caught.value.render_hint()
    assert "targets resign beta" in caught.value.render_hint()

    assert make(running, "production/beta", place, days=10).life.expires == running.now + 10 * DAY
    came = make(running, "production/beta", place.with_name("default"))
    assert came.life == (running.now + 10 * DAY, "its targets document expires then")
    running.wait(11 * DAY)
    with pytest.raises(export.BundleOutlives, match="can't live 30 days"):
        make(running, "production/beta", place.with_name("late"))


def test_the_root_bounds_its_life(running: Factory, place: Path) -> None:
    """Nor its root."""
    running.init("long", 3, "long", days=36_000)
    running.complete("long")
    with pytest.raises(export.BundleOutlives) as caught:
        make(running, "production/long", place, days=4000)
    assert "its root expires at 2037-01-12T08:00:00Z" in str(caught.value)
    assert "keys tuf renew-root" in caught.value.render_hint()
    assert "--expires-in-days 3650 is possible" in caught.value.render_hint()


# what is refused


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("nope", export.NothingToExport, "no wave, tag or view 'nope'"),
        ("ci/main", export.NothingToExport, "'ci/main'"),
        ("wave/nope", export.NothingToExport, "'wave/nope'"),
        ("w1", export.NoViewToExport, "tuf export release DIR"),
        ("w3", export.NoViewToExport, "waves rollout w3"),
        ("held/w2", export.NoViewToExport, "no device is held on it"),
        ("w0", export.NoViewToExport, "held/w0 has no view"),
        ("empty", export.NoViewToExport, "no wave of the tag was completed yet"),
        ("both", export.AmbiguousName, "both is a wave and a tag"),
    ],
)
def test_names(running: Factory, place: Path, name: str, error: type[LedgerError], says: str) -> None:
    """Only what devices see can be exported, by the name of its tag or wave; else it says what there is."""
    running.init("w0", 3, "beta")
    running.cancel("w0")
    running.init("w3", 3, "empty")
    running.init("both", 3, "both")
    before = running.head()

    with pytest.raises(error) as caught:
        make(running, name, place)
    assert says in f"{caught.value} {caught.value.render_hint()}"
    assert running.head() == before
    assert not place.parent.exists()


def test_nothing_is_overwritten(running: Factory, place: Path) -> None:
    """A directory with anything in it, a file and a link are refused before anything is recorded; not an empty one."""
    place.mkdir(parents=True)
    (place / "x").write_bytes(b"mine")
    file, link = place.with_name("file"), place.with_name("link")
    file.write_bytes(b"mine")
    link.symlink_to(place.with_name("nowhere"))
    before, there = running.head(), files(place.parent)
    for taken in (place, file, link):
        for dry_run in (True, False):
            with pytest.raises(bundle.BundleExists):
                make(running, "release", taken, dry_run=dry_run)
    with pytest.raises(bundle.BundleNotWritable):
        make(running, "release", file / "in" / "a" / "file")
    with pytest.raises(bundle.BundleNotWritable, match="mount point"):
        make(running, "release", Path("/proc"))
    assert (running.head(), files(place.parent)) == (before, there)

    (place / "x").unlink()
    make(running, "release", place)
    assert findings(running, place) == []


def test_a_failure_leaves_nothing(running: Factory, place: Path) -> None:
    """Without the keys it needs, nothing is recorded, and nothing is left where the bundle would be."""
    lacking = OnlineKeys([running.keys.ledger], "memory")
    before = running.head()

    with pytest.raises(OnlineKeyMissing):
        export.export(running.ledger, lacking, "release", place)
    assert running.head() == before
    assert list(place.parent.iterdir()) == []


def test_a_race_with_a_publication(running: Factory, place: Path) -> None:
    """Somebody publishes while a bundle is signed: it is signed again, above."""
    lost = 0

    class Late(Ledger):
        """Somebody else is faster, once."""

        @contextmanager
        def writing(self, *, dry_run: bool = False) -> Iterator[Session]:
            nonlocal lost
            lost += 1
            if lost == 1:
                publish.publish(running.ledger, running.online, force=True)
            with super().writing(dry_run=dry_run) as session:
                yield session

    late = Late(running.engine, [runner.Projector()], "alice", running.now)
    came = export.export(late, running.online, "release", place)

    assert lost == 2
    assert came.event is not None
    assert came.event.bundle.version == 5  # 1 and 2 first, 3 and 4 in between
    assert findings(running, place) == []


def test_numbers_of_a_lost_ledger(running: Factory, tree: Directory, place: Path) -> None:
    """Bundles and lost ledgers raise the numbers together: whatever comes next is above both."""
    with running.ledger.writing() as session:
        session.append(STREAM, [VersionsRaised(PRODUCTION, 50, 7000)])
    came = make(running, "release", place)
    assert came.event is not None
    assert came.event.bundle.version == 51
    with running.ledger.writing() as session:
        session.append(STREAM, [VersionsRaised(PRODUCTION, 40, 8000)])
    with running.ledger.reading() as connection:
        assert state.raised(connection, PRODUCTION)[:2] == (51, 8000)
        assert state.newest_version(connection, PRODUCTION) == 51
    assert runner.verify(running.engine, "releases") == []


def test_a_new_place_after_an_export(running: Factory, place: Path, tmp_path: Path) -> None:
    """A bundle raises the numbers of metadata only; a new place, and its tree, lack nothing after it."""
    for number in range(2):
        make(running, "release", place.with_name(f"bundle-{number}"))
        fresh = Directory(tmp_path / f"fresh-{number}")
        running.publish(fresh)
        report = checkup.check_tree(fresh.read, inspection.paths_of(fresh), running.engine, now=from_epoch(running.now))
        assert report.findings == []
        assert {found.view for found in report.checked} == {"ci/main", PRODUCTION, "wave/w2"}


# what verify says of bundles


def test_tampered_bundles(running: Factory, place: Path, tmp_path: Path) -> None:
    """What a client refuses, what the list says otherwise, and bundles that the ledger never made."""
    came = make(running, "release", place)
    assert came.event is not None
    version = came.event.bundle.version

    def changed(name: str, old: bytes, new: bytes) -> list[tuple[str, str]]:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(place, copy)
        data = (copy / name).read_bytes()
        assert old in data
        (copy / name).write_bytes(data.replace(old, new, 1))
        return findings(running, copy)

    nothing, other_bytes, other_list = "nothing but root 1", ("OtherBytes", ""), ("OtherList", "")
    assert changed("timestamp.json", b'"sig":"', b'"sig":"00') == [
        ("UnsignedMetadataError", nothing),
        ("OtherBytes", ""),
    ]
    snapshot = f"{version}.snapshot.json"
    assert changed(snapshot, b'"sig":"', b'"sig":"00') == [("DownloadLengthMismatchError", nothing), other_bytes]
    assert changed("1000.targets.json", b"arm64", b"amd64") == [
        ("LengthOrHashMismatchError", nothing),
        other_list,
    ]
    assert changed("1.root.json", b"root", b"r00t") != []
    assert changed("bundle.json", b'"length": 101', b'"length": 1') == [other_list]
    assert changed("bundle.json", b"waveledger-bundle/1", b"other") == [("Unreadable", "")]
    other = f'"version": {version}'.encode()
    assert changed("bundle.json", other, b'"version": 77') == [other_list, ("UnknownBundle", "")]
    (place / "1.root.json").unlink()
    assert findings(running, place) == [("MissingFile", "")]


def test_a_bundle_of_another_factory(running: Factory, place: Path, tmp_path: Path) -> None:
    """It is sound in itself, and not what this ledger made."""
    other = Factory(tmp_path / "other.db")
    other.build(1, hardware=["arm64"])
    other.init("w1", 1, "stable")
    other.complete("w1")
    make(other, "stable", place)

    assert findings(running, place, ledger=False) == []
    assert findings(running, place) == [("UnknownBundle", "")]
    other.close()


def test_an_unreadable_bundle(tmp_path: Path) -> None:
    """A file that can't be read is no finding, but an error."""
    (tmp_path / "bundle.json").mkdir()
    with pytest.raises(bundle.BundleUnreadable):
        bundle.check(bundle.reader(tmp_path), None)
