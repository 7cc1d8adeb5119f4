"""Held views: devices that run a canceled target keep it, and whoever leaves finds a way; a real client for each."""

# ruff: noqa: D102  (helpers speak by name)
from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import text

from projections.tuf.destination import Directory
from tests.support import DAY, Client, Factory, device


class Told:
    """A factory whose devices look at what is published, each with a client of its own kept throughout."""

    def __init__(self, directory: Path, fleet: Sequence[str] = ("a", "b", "c", "d")) -> None:
        self.factory = Factory(directory / "ledger.db")
        self.tree = Directory(directory / "tree")
        self.clients = {uuid: Client(directory / "clients" / uuid) for uuid in fleet}
        self.factory.build(*range(41, 50))
        self.factory.register(*[device(uuid, group="canary") for uuid in fleet])
        self.complete("base", 41)

    def complete(self, wave: str, number: int) -> None:
        """A wave from init to complete, published."""
        self.factory.init(wave, number)
        self.factory.complete(wave)
        self.publish()

    def begin(self, wave: str, number: int, *uuids: str) -> None:
        """A wave that reached the devices, and was seen by them. None: the whole group."""
        self.factory.init(wave, number)
        self.factory.rollout(wave, uuids=uuids) if uuids else self.factory.rollout(wave, group="canary")
        self.publish()

    def cancel(self, wave: str, *installed: str) -> None:
        """A wave that ends when these devices had installed it."""
        number = self.number_of(wave)
        self.runs(number, *installed)
        self.factory.cancel(wave)
        self.publish()

    def number_of(self, wave: str) -> int:
        with self.factory.ledger.reading() as connection:
            found = connection.execute(text("SELECT number FROM release_wave WHERE wave = :wave"), {"wave": wave})
            return int(found.scalar_one())

    def runs(self, number: int, *uuids: str) -> None:
        self.factory.report(*[(uuid, f"arm64-lmp-{number}", None) for uuid in uuids])

    def publish(self) -> None:
        self.factory.publish(self.tree, refresh=True)
        self.look()

    def look(self) -> None:
        """Every device whose view is published finds exactly what `devices show` says, at no lower version."""
        for uuid, row in self.factory.fleet().items():
            if row.view is None or not row.published:
                continue
            repository = f"{'production' if row.production else 'ci'}/{row.tag}"
            before = self.clients[uuid].seen.get(repository, (0, 0))
            found = self.clients[uuid].poll(self.tree, row.view, repository, self.factory.now)
            assert tuple(name for name in found if name.startswith("arm64")) == row.targets
            after = self.clients[uuid].seen[repository]
            assert after[0] >= before[0]
            assert after[1] >= before[1]

    def views(self) -> dict[str, str | None]:
        """What each device is decided to see; all of it must be published."""
        fleet = self.factory.fleet()
        assert all(row.published for row in fleet.values() if row.view)
        return {uuid: row.view for uuid, row in fleet.items()}

    def latest(self, uuid: str) -> str | None:
        return self.factory.shown(uuid).latest

    def live_views(self) -> set[str]:
        """The views of production devices that are there for good, and not for the last time."""
        with self.factory.ledger.reading() as connection:
            found = connection.exec_driver_sql("SELECT view FROM release_published WHERE NOT closed").scalars()
            return {view for view in found if not view.startswith("ci/")}


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    """Four devices in one group, on number 41."""
    made = Told(tmp_path)
    yield made
    made.factory.close()


def test_who_runs_it_keeps_it(told: Told) -> None:
    """At a cancel the device that installed the target is held on it; the one that did not, and strangers, go back."""
    told.begin("w43", 43, "a", "b")
    told.cancel("w43", "a")

    assert told.views() == {"a": "held/w43", **dict.fromkeys("bcd", "production/release")}
    assert [told.latest(uuid) for uuid in "ab"] == ["arm64-lmp-43", "arm64-lmp-41"]
    assert told.factory.shown("a").reason == (
        "it runs number 43 of the canceled wave w43, and keeps it until a wave of 43 or above is rolled out to it "
        "or completes, or it reports another target"
    )
    assert told.live_views() == {"production/release", "held/w43"}


def test_who_reports_it_late_goes_back(told: Told) -> None:
    """A device that installed the canceled target without saying so in time is an orphan on production."""
    told.begin("w43", 43, "a", "b")
    told.cancel("w43", "a")
    told.runs(43, "b")
    told.publish()

    assert told.views() == {"a": "held/w43", **dict.fromkeys("bcd", "production/release")}
    assert told.latest("b") == "arm64-lmp-41"
    assert orphans(told) == {"production": (4, 2, 1)}


def test_a_test_device_with_the_target_is_not_held(told: Told) -> None:
    """Only members are held: who runs the target by another way, or follows another tag, is not."""
    told.factory.register(device("b", group="canary", production=False), device("c", "beta", "canary"))
    told.begin("w43", 43)
    told.runs(43, "b", "c")
    told.cancel("w43", "a")
    told.factory.register(device("b", group="canary"), device("c", group="canary"))
    told.publish()

    assert told.views() == {"a": "held/w43", **dict.fromkeys("bcd", "production/release")}


@pytest.mark.parametrize("first", [True, False])
def test_who_ran_it_when_it_was_reached_is_held(told: Told, *, first: bool) -> None:
    """A device may report the target before the wave reaches it or after: listed, by its group, or by joining it."""
    told.factory.set(["c", "d"], no_group=True)
    told.factory.init("w43", 43)
    if first:
        told.runs(43, "a", "b", "c", "d")
    told.factory.rollout("w43", group="canary")
    told.factory.rollout("w43", uuids=["d"])
    told.factory.set(["c"], group="canary")
    if not first:
        told.runs(43, "a", "b", "c", "d")
    told.publish()
    told.factory.cancel("w43")
    told.publish()

    held = "abc" if first else "abcd"  # d was skipped: at the number already, it was no candidate
    assert told.views() == {
        **dict.fromkeys("abcd", "production/release"),
        **dict.fromkeys(held, "held/w43"),
    }


def test_the_name_counts_not_the_number(told: Told) -> None:
    """Who reported the target before CI said what it is has number 0, and is held and left alone like the others."""
    told.factory.build()
    told.factory.report(("a", "arm64-lmp-60", None))
    told.factory.build(60, 50)
    told.begin("w60", 60)
    told.cancel("w60", "b")
    assert told.views()["a"] == told.views()["b"] == "held/w60"

    told.factory.init("w50", 50)
    came = told.factory.rollout("w50", uuids=["a", "b", "c"])
    assert (came.uuids, came.event.skipped) == (("c",), 2)


def test_who_is_listed_may_run_it_already(told: Told) -> None:
    """The same for a device that a rollout lists: a candidate by its number, there already by its target."""
    told.factory.report(("a", "arm64-lmp-60", None))
    told.factory.build(60)
    told.begin("w60", 60, "a", "b")
    told.cancel("w60")

    assert told.views() == {"a": "held/w60", **dict.fromkeys("bcd", "production/release")}


def test_who_comes_back_to_the_group_may_run_it_already(told: Told) -> None:
    """A removed device that returns to a group while a wave of what it runs is out there is in the wave, and held."""
    told.factory.set(["a"], no_group=True)
    told.runs(43, "a")
    told.factory.remove("a")
    told.begin("w43", 43)
    told.factory.register(device("a", group="canary"))
    told.cancel("w43")

    assert told.views() == {"a": "held/w43", **dict.fromkeys("bcd", "production/release")}


def test_a_second_canceled_wave_leaves_them_where_they_were(told: Told) -> None:
    """Reached by a second wave that is canceled, a held device is back where it was, or held by the second one."""
    told.begin("w43", 43, "a", "b", "c")
    told.cancel("w43", "a", "b")
    told.begin("w44", 44, "a", "b", "c")
    assert set(told.views().values()) == {"wave/w44", "production/release"}
    told.cancel("w44", "b")

    assert told.views() == {
        "a": "held/w43",
        "b": "held/w44",
        **dict.fromkeys("cd", "production/release"),
    }
    assert [told.latest(uuid) for uuid in "abcd"] == [f"arm64-lmp-{n}" for n in (43, 44, 41, 41)]


def test_the_same_number_again(told: Told) -> None:
    """A canceled number that is waved again takes over who was held on it, and holds them when it is canceled too."""
    told.begin("w43", 43, "a")
    told.cancel("w43", "a")
    told.begin("again", 43)
    assert told.views()["a"] == "wave/again"
    told.cancel("again")

    assert told.views() == {"a": "held/again", **dict.fromkeys("bcd", "production/release")}


def test_a_lower_wave_neither_chooses_nor_moves(told: Told) -> None:
    """A wave below what holds a device neither chooses it nor shows itself to it, and leaves it when it completes."""
    told.begin("w43", 43, "a")
    told.cancel("w43", "a")
    told.factory.init("w42", 42)
    assert "a" not in told.factory.rollout("w42", limit="100%", dry_run=True).uuids
    told.factory.rollout("w42", group="canary")
    told.publish()
    assert told.views() == {"a": "held/w43", **dict.fromkeys("bcd", "wave/w42")}
    told.factory.complete("w42")
    told.publish()

    assert told.views() == {"a": "held/w43", **dict.fromkeys("bcd", "production/release")}
    assert told.latest("a") == "arm64-lmp-43"


def test_a_lower_canceled_wave_closes_nothing(told: Told) -> None:
    """Canceled waves below it, and completed ones, leave a held view as it is, in whatever order they come."""
    told.begin("w43", 43, "a")
    told.cancel("w43", "a")
    told.begin("w42", 42, "b")
    told.cancel("w42", "b")
    assert told.views() == {"a": "held/w43", "b": "held/w42", **dict.fromkeys("cd", "production/release")}
    told.complete("w42-again", 42)

    assert told.views() == {"a": "held/w43", **dict.fromkeys("bcd", "production/release")}
    assert told.live_views() == {"production/release", "held/w43"}


@pytest.mark.parametrize("number", [43, 44])
def test_a_wave_at_or_above_it_completes(told: Told, number: int) -> None:
    """A wave at or above what holds a device brings it home when it completes, rolled out to it or not."""
    told.begin("w43", 43)
    told.cancel("w43", "a", "b")
    told.begin("next", number, "a")
    assert told.views()["a"] == ("held/w43" if number == 43 else "wave/next")  # at 43 it is no candidate
    told.factory.complete("next")
    told.publish()

    assert set(told.views().values()) == {"production/release"}
    assert told.latest("b") == f"arm64-lmp-{number}"
    assert told.live_views() == {"production/release"}
    told.factory.wait(9 * DAY)
    told.publish()
    assert not (told.tree.root / "held" / "w43").exists()


def test_another_target_leads_to_production_with_the_next_publication(told: Told) -> None:
    """Who reports another target is held no more; its client goes to production when that has a newer timestamp."""
    told.begin("w43", 43, "a", "b")
    told.cancel("w43", "a", "b")
    assert told.factory.publish(told.tree).repositories == []
    told.runs(41, "a")

    row = told.factory.shown("a")
    assert (row.view, row.published, row.latest) == ("production/release", False, "arm64-lmp-41")
    assert "with the next publication" in row.reason
    for view in ("held/w43", "production/release"):  # who is sent on before, by a stale route, comes to no harm
        told.clients["a"].poll(told.tree, view, "production/release", told.factory.now)
    assert told.factory.publish(told.tree).repositories == ["production/release"]
    told.look()
    assert told.views() == {"b": "held/w43", **dict.fromkeys("acd", "production/release")}
    assert told.factory.publish(told.tree).repositories == []


def test_who_left_does_not_return(told: Told) -> None:
    """What it reports later does not hold it again, not even when both reports come in one import."""
    told.begin("w43", 43, "a", "b")
    told.cancel("w43", "a", "b")
    told.runs(41, "a")
    told.runs(43, "a")
    told.factory.report(("b", "arm64-lmp-41", None), ("b", "arm64-lmp-43", None))
    told.publish()

    assert set(told.views().values()) == {"production/release"}


def test_a_held_device_leaves_after_a_second_canceled_wave(told: Told) -> None:
    """Production's document is above those of held views at every moment, so that the way home is never a way down."""
    told.begin("w43", 43, "a", "b")
    told.cancel("w43", "a", "b")
    told.begin("w44", 44, "c", "d")
    told.cancel("w44", "c")
    told.runs(41, "a", "c")
    told.publish()

    assert told.views() == {"b": "held/w43", **dict.fromkeys("acd", "production/release")}


def test_a_held_device_that_installs_the_next_wave_causes_no_publication(told: Told) -> None:
    """A member of the active wave stays on it when it reports: that is no way to production."""
    told.begin("w43", 43, "a")
    told.cancel("w43", "a")
    told.begin("w44", 44, "a")
    told.runs(44, "a")
    assert told.factory.publish(told.tree).repositories == []
    assert told.views()["a"] == "wave/w44"
    told.cancel("w44")

    assert told.views()["a"] == "held/w44"


def test_a_lower_wave_takes_in_who_leaves(told: Told) -> None:
    """A member of a lower wave was held back from it; what it reports lets it in at once."""
    told.begin("w43", 43, "a")
    told.cancel("w43", "a")
    told.begin("w42", 42)
    told.runs(42, "a")

    assert told.views()["a"] == "wave/w42"
    told.look()
    told.cancel("w42")
    assert told.views() == {"a": "held/w42", **dict.fromkeys("bcd", "production/release")}


@pytest.mark.parametrize("rest", ["tag", "test", "removed"])
def test_being_held_rests_and_resumes(told: Told, rest: str) -> None:
    """Off the tag, as a test device or removed a device is not held; when it comes back, it is, whatever happened."""
    away = {
        "tag": lambda: told.factory.set(["a"], tag="beta"),
        "test": lambda: told.factory.register(device("a", group="canary", production=False)),
        "removed": lambda: told.factory.remove("a"),
    }
    told.begin("w43", 43, "a", "b")
    told.runs(43, "a", "b")
    away[rest]()
    told.cancel("w43")
    told.begin("w44", 44, "b", "c")
    assert told.views().get("a") is None  # nothing there for it
    told.cancel("w44", "c")
    told.factory.register(device("a", group="canary"))
    told.publish()

    assert told.views() == {
        **dict.fromkeys("ab", "held/w43"),
        "c": "held/w44",
        "d": "production/release",
    }


@pytest.mark.parametrize("rest", ["tag", "test"])
def test_what_it_reports_while_it_rests_counts(told: Told, rest: str) -> None:
    """A device that reports another target while its membership rests comes back to production."""
    told.begin("w43", 43, "a")
    told.cancel("w43", "a")
    if rest == "tag":
        told.factory.set(["a"], tag="beta")
    else:
        told.factory.register(device("a", group="canary", production=False))
    told.runs(41, "a")
    told.factory.register(device("a", group="canary"))
    assert not told.factory.shown("a").published
    told.publish()

    assert set(told.views().values()) == {"production/release"}


def test_held_before_anything_was_production(tmp_path: Path) -> None:
    """On a tag without production targets, who runs the canceled target keeps it, the others get the empty list."""
    told = Told(tmp_path)
    told.factory.set(["a", "b"], tag="fresh")
    told.factory.init("w43", 43, "fresh")
    told.factory.rollout("w43", uuids=["a", "b"])
    told.publish()
    told.cancel("w43", "a")

    assert told.views() == {"a": "held/w43", "b": "production/fresh", **dict.fromkeys("cd", "production/release")}
    assert told.latest("b") is None
    told.factory.close()


def test_held_views_live_on_with_fresh_timestamps(told: Told) -> None:
    """Three weeks of nothing but refreshes: held devices' clients go on as all others do."""
    told.begin("w43", 43, "a", "b")
    told.cancel("w43", "a")
    before = told.clients["a"].seen["production/release"][0]
    for _ in range(7):
        told.factory.wait(3 * DAY)
        told.publish()

    assert told.views()["a"] == "held/w43"
    assert told.clients["a"].seen["production/release"][0] > before + 5


def test_many_waves_over_one_held_device(told: Told) -> None:
    """Canceled waves one over another, each installed by some, and a way home for everybody in the end."""
    for number, installed in ((43, "a"), (44, "b"), (45, "c"), (46, "d")):
        told.begin(f"w{number}", number)
        told.cancel(f"w{number}", installed)
    assert told.views() == {"a": "held/w43", "b": "held/w44", "c": "held/w45", "d": "held/w46"}
    assert orphans(told) == {"production": (4, 4, 4)}

    told.complete("w45-again", 45)
    assert told.views() == {**dict.fromkeys("abc", "production/release"), "d": "held/w46"}
    told.complete("w47", 47)
    assert set(told.views().values()) == {"production/release"}
    assert told.factory.differences() == []


def test_a_held_view_is_rebuilt_without_any_key(told: Told, tmp_path: Path) -> None:
    """Held views too are written again from the ledger alone, byte for byte."""
    from tests.support import files

    told.begin("w43", 43, "a")
    told.cancel("w43", "a")
    told.begin("w44", 44, "b")
    told.cancel("w44", "b")
    fresh = Directory(tmp_path / "fresh")
    told.factory.publish(fresh, keys=False)

    assert files(fresh.root) == files(told.tree.root)


def orphans(told: Told) -> dict[str, tuple[int, int, int]]:
    """Devices, those on orphans and those held, by kind of row of the tag release."""
    from projections.queries import status

    with told.factory.ledger.reading() as connection:
        rows = status.tags(connection, online_since=0)
    return {row.kind: (row.all.devices, row.all.on_orphan, row.all.held) for row in rows if row.tag == "release"}
