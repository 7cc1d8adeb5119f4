"""Publication to object stores: a real S3 server (moto's) in this process, and another place that fsspec opens."""

# ruff: noqa: D102  (helpers speak by name)
from __future__ import annotations

import logging
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import orjson
import pytest
from moto.server import ThreadedMotoServer

from cli.context import destination
from cli.errors import UnsupportedDestination
from projections.tuf import verify
from projections.tuf.ahead import highest_versions
from projections.tuf.destination import (
    Destination,
    DestinationAhead,
    DestinationHasOtherBytes,
    DestinationPathRefused,
    DestinationUnusable,
    Directory,
)
from projections.tuf.objects import Objects, open_url, without_password
from tests.cli.conftest import Waveledger
from tests.emitter.objectstore import Failing, PowerCut, contents, refresh_over_http
from tests.emitter.publishers import polls_while_two_publish
from tests.emitter.stages import days_later, under_way
from tests.support import DAY, Factory, files

REPOSITORY = Path(__file__).parents[2]
NUMBERS = count(1)


class Shelf:
    """A bucket, and its address for those who have no key."""

    def __init__(self, endpoint: str, bucket: str) -> None:
        self.url = f"s3://{bucket}/tuf/acme"
        self.public = f"{endpoint}/{bucket}/tuf/acme"
        self.endpoint = endpoint

    def open(self) -> Objects:
        return open_url(self.url)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The server."""
    environment = pytest.MonkeyPatch()
    environment.setenv("AWS_ACCESS_KEY_ID", "testing")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
    environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    yield f"http://{host}:{port}"
    server.stop()
    environment.undo()


@pytest.fixture
def shelf(endpoint: str) -> Shelf:
    """A new bucket that anybody may read."""
    name = f"bucket-{next(NUMBERS)}"
    open_url("s3://any/thing")._fs.call_s3("create_bucket", Bucket=name, ACL="public-read")
    return Shelf(endpoint, name)


@pytest.fixture(params=["s3", "memory"])
def place(request: pytest.FixtureRequest) -> str:
    """The URL of an empty place, on S3 and in memory: with and without conditional puts."""
    if request.param == "memory":
        return f"memory://place-{next(NUMBERS)}/tuf"
    shelf: Shelf = request.getfixturevalue("shelf")
    return shelf.url


def finish(factory: Factory) -> None:
    factory.cancel("w2")
    factory.build(4)


STAGES: list[Callable[[Factory], None]] = [under_way, finish, days_later]


@pytest.fixture
def running(factory: Factory) -> Factory:
    """A wave on its way to the canaries, over an earlier production."""
    under_way(factory)
    return factory


def test_a_story_over_http(running: Factory, shelf: Shelf, tmp_path: Path) -> None:
    """A device on a canary group follows a bucket's public address through a wave, its cancel and its view's end."""
    running.publish(shelf.open())
    found = refresh_over_http(tmp_path / "a", f"{shelf.public}/wave/w2/", running.now)
    assert found == ("amd64-lmp-1", "amd64-lmp-2", "arm64-lmp-1", "arm64-lmp-2")
    refresh_over_http(tmp_path / "b", f"{shelf.public}/production/release/", running.now)

    running.cancel("w2")
    running.publish(shelf.open())
    for name in ("a", "b"):
        found = refresh_over_http(tmp_path / name, f"{shelf.public}/production/release/", running.now)
        assert found == ("amd64-lmp-1", "arm64-lmp-1")

    running.wait(9 * DAY)
    running.publish(shelf.open(), refresh=True)
    refresh_over_http(tmp_path / "a", f"{shelf.public}/production/release/", running.now)
    place = shelf.open()
    assert {"ci/main", "production/release"} <= set(place.views())
    assert "wave/w2" not in place.views()
    assert place.names("wave") == []


def test_a_bucket_holds_what_a_directory_does(running: Factory, place: str, tree: Directory) -> None:
    """File by file and byte by byte; publishing again writes nothing, and the client's check finds nothing."""
    running.publish(tree)
    running.publish(open_url(place), keys=False)
    watched = Failing(place)

    running.publish(watched)

    assert contents(open_url(place)) == files(tree.root)
    assert watched.writes == []
    assert watched.views() == tree.views() == ["ci/main", "production/release", "wave/w2"]
    assert watched.names("pool/production/release") == tree.names("pool/production/release")
    assert verify.check_views(watched, watched.views())[1] == []


@pytest.mark.parametrize("stages", [1, 2, 3], ids=[stage.__name__ for stage in STAGES])
def test_a_failure_at_any_write_is_finished_by_the_next(
    factory: Factory, endpoint: str, tmp_path: Path, stages: int
) -> None:
    """Whichever put or removal fails, the next publication leaves the bucket of one that never failed."""
    base = f"memory://failing-{next(NUMBERS)}"
    for place, stage in enumerate(STAGES[:stages]):
        stage(factory)
        if place < stages - 1:
            factory.publish(open_url(f"{base}/before"), refresh=True)
    factory.publish(Directory(tmp_path / "elsewhere"), refresh=True)  # signed, not yet written there
    filesystem = open_url(base)._fs

    def copy(name: str) -> str:
        if filesystem.exists(f"{base}/before"):
            filesystem.copy(f"{base}/before/", f"{base}/{name}/", recursive=True)
        return f"{base}/{name}"

    whole = Failing(copy("whole"))
    factory.publish(whole, keys=False)
    expected = contents(whole)
    assert len(whole.writes) > 3

    for at in range(len(whole.writes)):
        with pytest.raises(PowerCut):
            factory.publish(Failing(copy(f"at-{at}"), at), keys=False)
        factory.publish(open_url(f"{base}/at-{at}"), keys=False)
        assert contents(open_url(f"{base}/at-{at}")) == expected, at


CHILD = """
import os, signal, sys
from pathlib import Path
from projections.tuf.objects import Objects, open_url
from tests.support import Factory

path, now, url, at = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
puts = 0
put = Objects._put

def counted(self, *arguments):
    global puts
    if puts == at:
        os.kill(os.getpid(), signal.SIGKILL)
    puts += 1
    return put(self, *arguments)

Objects._put = counted
factory = Factory(path)
factory.now = now
factory.publish(open_url(url), keys=False)
"""


@pytest.mark.parametrize("at", [pytest.param(2, marks=pytest.mark.slow), 14])
def test_a_killed_publication_to_a_bucket_is_finished(
    running: Factory, shelf: Shelf, tree: Directory, tmp_path: Path, at: int
) -> None:
    """A process that SIGKILL ends before one of its puts: clients see no error, and the next one leaves all of it."""
    running.publish(shelf.open())
    refresh_over_http(tmp_path / "a", f"{shelf.public}/wave/w2/", running.now)
    finish(running)
    running.publish(tree)
    arguments = [str(running.path), str(running.now), shelf.url, str(at)]
    child = subprocess.run([sys.executable, "-c", CHILD, *arguments], cwd=REPOSITORY, capture_output=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert contents(shelf.open()) != files(tree.root)
    refresh_over_http(tmp_path / "a", f"{shelf.public}/wave/w2/", running.now)

    running.publish(shelf.open(), keys=False)

    refresh_over_http(tmp_path / "a", f"{shelf.public}/production/release/", running.now)
    expected = files(tree.root)
    found = contents(shelf.open())
    # The directory was not published to before the cancel, the bucket was: it keeps the links of that time.
    assert {path: found.get(path) for path in expected} == expected


def test_a_bucket_that_is_ahead(running: Factory, place: str, tmp_path: Path) -> None:
    """A ledger restored from a backup never publishes over what it does not know, and is told the way out."""
    running.publish(open_url(place))
    restored = running.copy(tmp_path / "restored.db")
    running.publish(open_url(place), refresh=True, force=True)
    before = contents(open_url(place))

    with pytest.raises(DestinationAhead) as caught:
        restored.publish(open_url(place))

    assert f"--above {place}" in caught.value.render_hint()
    assert contents(open_url(place)) == before
    highest = highest_versions(open_url(place), "production/release")
    assert highest.metadata == 4
    assert highest.targets // 1000 >= 3
    assert highest.root == 1
    restored.close()


@pytest.mark.parametrize(
    ("place", "kind"),
    [("memory", "root"), ("memory", "targets"), ("memory", "snapshot"), ("memory", "timestamp"), ("s3", "snapshot")],
    indirect=["place"],
)
def test_a_bucket_with_other_bytes(running: Factory, place: str, kind: str) -> None:
    """An object that holds other bytes than the ledger's under the same version is refused, and left as it is."""
    running.publish(open_url(place))
    found = contents(open_url(place))
    path = next(
        path
        for path in found
        if (path == "production/release/timestamp.json" if kind == "timestamp" else path.startswith("pool/production"))
        and kind in path
    )
    changed = found[path].replace(b'"sig":"', b'"sig":"00', 1)
    damaged = open_url(place)
    damaged._fs.pipe_file(damaged._at(path), changed)

    with pytest.raises(DestinationHasOtherBytes) as caught:
        running.publish(open_url(place))

    assert "targets resign" in caught.value.render_hint()
    assert open_url(place).read(path) == changed


class Overtaken(Objects):
    """Somebody else is faster: right before each put, until told to stop."""

    def __init__(self, opened: Objects, other: Callable[[str], None]) -> None:
        super().__init__(opened._fs, opened._root, opened.place, "s3")
        self.other = other

    def _put(self, path: str, *arguments: object) -> bool:
        self.other(path)
        return super()._put(path, *arguments)  # type: ignore[arg-type]


def test_an_older_timestamp_never_replaces_a_newer_one(shelf: Shelf) -> None:
    """Who read an older timestamp before another publisher put a newer one loses the put, and looks again."""
    other = shelf.open()
    other.advance("production/release/timestamp.json", b"1", lambda found: int(found) < 1)
    overtaken = Overtaken(shelf.open(), lambda path: other._put(path, b"3", {}, {}) and None)

    assert not overtaken.advance("production/release/timestamp.json", b"2", lambda found: int(found) < 2)

    assert other.read("production/release/timestamp.json") == b"3"


def test_two_new_timestamps_at_once(shelf: Shelf) -> None:
    """Both find none; the one that is newer stays, whoever came first."""
    for mine, theirs, left in ((b"1", b"2", b"2"), (b"2", b"1", b"2")):
        path, other = f"production/tag-{mine.decode()}/timestamp.json", shelf.open()

        def faster(path: str, other: Objects = other, theirs: bytes = theirs) -> None:
            if not other.exists(path):
                other._put(path, theirs, {}, {})

        def older(found: bytes, mine: bytes = mine) -> bool:
            return int(found) < int(mine)

        Overtaken(shelf.open(), faster).advance(path, mine, older)

        assert other.read(path) == left


def test_a_versioned_object_that_another_ledger_was_faster_with(shelf: Shelf) -> None:
    """Nothing was there when it was looked at: the put is refused all the same, and the other bytes stay."""
    other = shelf.open()
    path = "pool/production/release/1.root.json"
    overtaken = Overtaken(shelf.open(), lambda path: other.exists(path) or other._put(path, b"theirs", {}, {}))

    with pytest.raises(DestinationHasOtherBytes):
        overtaken.write_once(path, b"mine")

    assert other.read(path) == b"theirs"


@pytest.mark.slow
def test_two_publishers_to_one_bucket(running: Factory, shelf: Shelf, tmp_path: Path) -> None:
    """Two machines that sign and write all the time disturb neither each other nor a client."""
    running.publish(shelf.open())

    def poll() -> None:
        refresh_over_http(tmp_path / "a", f"{shelf.public}/wave/w2/", running.now)

    polls = polls_while_two_publish(running, shelf.open, 2, poll)
    assert polls > 2
    fresh = Directory(tmp_path / "fresh")
    running.publish(fresh, keys=False)
    assert contents(shelf.open()) == files(fresh.root)


def test_headers_for_caches(running: Factory, shelf: Shelf) -> None:
    """A timestamp is asked for each time, what has a version in its name may be kept for ever."""
    running.publish(shelf.open())

    def headers(path: str) -> tuple[str, str]:
        with urllib.request.urlopen(f"{shelf.public}/{path}") as answer:
            return answer.headers["Cache-Control"], answer.headers["Content-Type"]

    assert headers("production/release/timestamp.json") == ("no-cache, max-age=0", "application/json")
    assert headers("production/release/1.root.json") == ("public, max-age=31536000, immutable", "application/json")


def test_places_without_whole_puts_get_files_moved_in(running: Factory, tmp_path: Path, tree: Directory) -> None:
    """Where a put is no single step, a file is written beside its place and moved; nothing is left over."""
    running.publish(tree)
    place = open_url(f"local://{tmp_path / 'moved'}")

    running.publish(place, keys=False)

    assert files(tmp_path / "moved") == files(tree.root)
    finish(running)
    running.publish(tree)
    running.publish(place, keys=False)
    days_later(running)
    running.publish(tree, refresh=True)
    running.publish(place, keys=False)
    assert files(tmp_path / "moved") == files(tree.root)


def test_a_missing_bucket_can_not_be_used(running: Factory, endpoint: str) -> None:
    """Publishing to it is refused with what the store said; looking at it finds nothing."""
    place = open_url("s3://no-such-bucket-anywhere/tuf")

    with pytest.raises(DestinationUnusable, match="bucket"):
        running.publish(place)
    assert place.views() == []


def test_a_store_that_does_not_answer(running: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nobody listens is a place that can't be used, not a bug."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    place = open_url("s3://bucket/tuf")
    place._fs.retries = 1
    with pytest.raises(DestinationUnusable, match=r"127\.0\.0\.1:9"):
        place.read("production/release/timestamp.json")


def test_urls_that_nothing_opens() -> None:
    """An unknown scheme, or one whose driver is not installed, is a usage error that says what to install."""
    with pytest.raises(UnsupportedDestination, match="Protocol not known: carrier-pigeon"):
        destination("carrier-pigeon://coop/tuf")
    with pytest.raises(UnsupportedDestination, match="gcsfs") as caught:
        destination("gs://bucket/tuf")
    assert "waveledger[s3]" in caught.value.render_hint()
    assert isinstance(destination("file:///srv/tuf"), Directory)


def test_passwords_are_not_shown() -> None:
    """Neither in messages nor in the ledger's notes."""
    assert without_password("sftp://joe:hush@host:2222/tuf") == "sftp://joe@host:2222/tuf"
    assert without_password("s3://bucket/tuf") == "s3://bucket/tuf"


@pytest.mark.parametrize("path", ["../victim", "wave/../../victim", "/etc/victim", "wave/.hidden", "wave"])
def test_a_path_that_no_view_has_is_refused(path: str) -> None:
    """Nor is it written to a bucket, read, or deleted from it."""
    place = open_url(f"memory://refusing-{next(NUMBERS)}")
    for use in (place.read, place.remove, place.exists, lambda path: place.write_once(path, b"data")):
        with pytest.raises(DestinationPathRefused):
            use(path)


def test_starting_up_imports_no_driver() -> None:
    """Fsspec and what it brings are imported when a URL is opened, and not for a directory."""
    code = "import sys; from cli.context import destination; import projections.tuf.emitter; destination('tree'); "
    code += "print(sorted({n.partition('.')[0] for n in sys.modules} & {'fsspec', 's3fs', 'aiobotocore'}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_the_commands_take_urls(shelf: Shelf, tmp_path: Path) -> None:
    """`tuf publish` and `tuf verify` work on a bucket as they do on a directory, and a wave command publishes there."""
    shell = Waveledger(tmp_path, WAVELEDGER_PUBLISH=shelf.url)

    def run(*arguments: str) -> str:
        came = shell.do(*arguments)
        return came.out + came.err

    run("init", "--factory", "acme")
    run("targets", "import", str(REPOSITORY / "tests/data/acme/ci-targets.json"))
    run("devices", "import", str(REPOSITORY / "tests/data/acme/devices.csv"))
    assert f"written to {shelf.url}: nothing, all of it was there" in run("tuf", "publish")
    listed = orjson.loads((REPOSITORY / "tests/data/acme/ci-targets.json").read_bytes())["signed"]["targets"]
    number = max((target["custom"]["version"] for target in listed.values()), key=int)
    run("waves", "init", "w1", number, "release", "-k", "keys/targets.only.key.tgz")
    assert f"published to {shelf.url}: production/release" in run("waves", "complete", "w1")
    assert "production/release" in run("tuf", "verify", shelf.url)


def test_every_place_is_a_destination(tmp_path: Path) -> None:
    """What mypy would say, said by a test: both kinds have all that publishing needs."""
    needed = {name for name in vars(Destination) if not name.startswith("_")}
    for made in (Directory(tmp_path), open_url("memory://place")):
        assert {name for name in needed if not hasattr(made, name)} == set()
