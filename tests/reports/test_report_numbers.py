"""What reports say of a story that was counted by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cli.reports.page import CurveChart, Fact
from cli.reports.pages.activity import page
from cli.reports.pages.expiry import page as expiry_page
from cli.reports.pages.fleet import page as fleet_page
from cli.reports.pages.tag import page as tag_page
from cli.reports.pages.wave import page as wave_page
from ledger.application import waves
from ledger.domain.wave import UnknownWave
from projections.reports.activity import KINDS
from projections.reports.expiry import GroupHit, Soonest
from projections.reports.fleet import Offered, Version
from projections.reports.tag import ProductionTarget, UnknownTag
from projections.reports.values import Span, Wanted
from projections.reports.wave import Counts, Milestone
from projections.reports.waves import Outcomes, Reason, WaveSummary
from projections.tuf.destination import Directory
from tests import stores
from tests.reports.telling import Story, ask, builders, hour
from tests.support import DAY, HOUR, Factory, device

V7 = WaveSummary(
    "v7", 7, "stable", "complete", hour(1), "alice", hour(2), hour(25), "bob", Span(DAY), 2, 5, (), None
)  # fmt: skip
V8 = WaveSummary(
    "v8", 8, "stable", "canceled", hour(48), "bob", hour(48), hour(50), "bob", Span(2 * HOUR), 1, 2, (7,),
    "reboots under load",
)  # fmt: skip


def test_waves_of_all_time(story: Story) -> None:
    """Outcome, duration, rollouts, devices reached and the reason of every wave."""
    report = story.ask("waves")

    assert report.waves == (V7, V8)
    assert report.outcomes == Outcomes(2, 0, 1, 1, Span(DAY), Span(2 * HOUR))
    assert report.reasons == (Reason("reboots under load", 1),)
    assert (report.period.since, report.period.until) == (hour(0), hour(74))


@pytest.mark.parametrize(
    ("hours", "median"), [((5,), 5), ((1, 5), 3), ((1, 2, 30), 2), ((8, 1, 2, 30), 5)], ids=["1", "2", "3", "4"]
)
def test_the_median_of_an_even_number_lies_between_the_middle_two(
    factory: Factory, hours: tuple[int, ...], median: int
) -> None:
    """Half of the waves took as long or less, half as long or more."""
    for number, took in enumerate(hours, start=1):
        factory.build(number)
        factory.init(f"w{number}", number)
        factory.wait(took * HOUR)
        factory.complete(f"w{number}")
    report = ask(factory, builders("", "release")["waves"])

    assert report.outcomes.median_to_complete == Span(median * HOUR)
    assert report.outcomes.median_to_cancel is None


@pytest.mark.parametrize(
    ("since", "until", "names"),
    [(0, 0, []), (0, 1, ["v7"]), (25, 30, ["v7"]), (26, 47, []), (26, 48, ["v8"]), (10, 49, ["v7", "v8"])],
)
def test_waves_of_a_period(story: Story, since: int, until: int, names: list[str]) -> None:
    """A wave belongs to a period in which it was active for a moment; both ends are included."""
    report = story.ask("waves", wanted=Wanted(hour(since), hour(until)))

    assert [wave.name for wave in report.waves] == names
    assert report.outcomes.total == len(names)


def test_a_wave_from_init_to_its_end(story: Story) -> None:
    """Who did what when; the publications that first showed it, and how it ended, are among it."""
    report = story.ask("wave")

    assert report.wave == V7
    assert [(m.what, m.by, m.at) for m in report.timeline] == [
        ("init", "alice", hour(1)),
        ("signed", "alice", hour(1)),
        ("rollout", "alice", hour(2)),
        ("published", "alice", hour(2)),
        ("rollout", "alice", hour(5)),
        ("complete", "bob", hour(25)),
        ("promoted", "bob", hour(25)),
    ]
    assert [(r.group, r.full_group, r.listed, r.devices, r.reached) for r in report.rollouts] == [
        ("canary", True, False, 2, 2),
        (None, False, True, 3, 5),
    ]
    assert [(s.by, s.at, s.keyid, s.again) for s in report.signatures] == [
        ("alice", hour(1), story.factory.keys.targets[0].keyid, False)
    ]
    assert report.targets == ("amd64-lmp-7", "arm64-lmp-7")
    assert (report.threshold, report.source_tag, report.pruned_targets) == (2, None, ())


def test_the_adoption_of_a_wave(story: Story) -> None:
    """Devices on the tag, at or above the number and on it, from each change on, until no more follow."""
    report = story.ask("wave")

    assert [(p.at, p.devices, p.updated, p.on_wave) for p in report.adoption] == [
        (hour(1), 8, 0, 0),
        (hour(3), 8, 1, 1),
        (hour(5), 8, 2, 2),
        (hour(10), 8, 4, 4),
        (hour(30), 8, 7, 7),
    ]
    assert (report.period.since, report.period.until) == (hour(1), hour(30) + 29 * HOUR // 20)
    assert report.stragglers is None
    assert report.milestones == (
        Milestone(10, hour(3), Span(2 * HOUR)),
        Milestone(50, hour(10), Span(9 * HOUR)),
        Milestone(90, hour(40), Span(39 * HOUR)),  # the last one moved away
        Milestone(100, hour(40), Span(39 * HOUR)),
    )
    assert report.counts == Counts(total=7, updated=7, scheduled=0, unscheduled=0, on_wave=6)


def test_one_late_device_does_not_stretch_the_adoption_of_all_others(factory: Factory) -> None:
    """Its chart ends where the others had followed, and says how many came later; the table has them all."""
    factory.build(1)
    factory.register(*[device(f"d{n:02}") for n in range(30)])
    began = factory.now
    factory.init("w", 1)
    factory.complete("w")
    for n in range(28):
        factory.wait(HOUR)
        factory.report((f"d{n:02}", "arm64-lmp-1", factory.now))
    factory.wait(90 * DAY)
    factory.report(("d28", "arm64-lmp-1", factory.now))
    factory.wait(DAY)
    report = ask(factory, builders("w", "release")["wave"])
    (section,) = [section for section in wave_page(report).sections if section.key == "adoption"]
    chart = section.chart

    assert report.stragglers is not None
    assert (report.stragglers.devices, report.stragglers.last_at) == (1, factory.now - DAY)
    assert isinstance(chart, CurveChart)
    assert began + 28 * HOUR < chart.end < began + 29 * HOUR
    assert chart.stacked[0].points[-1][1] == 28
    assert "1 more device followed much later, the last one on" in chart.description
    assert (report.adoption[-1].at, report.adoption[-1].updated) == (factory.now - DAY, 29)
    assert len(section.rows) == len(report.adoption) == 30


def test_the_adoption_of_a_canceled_wave(story: Story) -> None:
    """Its end comes before anybody else's: one device ran it."""
    report = story.ask("wave", wave="v8")

    assert [(p.at, p.devices, p.updated, p.on_wave) for p in report.adoption] == [
        (hour(48), 7, 0, 0),
        (hour(49), 7, 1, 1),
        (hour(50), 7, 1, 1),
    ]
    assert [(m.what, m.by, m.at) for m in report.timeline[-2:]] == [
        ("cancel", "bob", hour(50)),
        ("withdrawn", "bob", hour(50)),
    ]
    facts = {fact.label: fact.value for fact in wave_page(report).facts}
    assert facts["Still on version 8 now"] == report.counts.on_wave == 1
    assert [m.at for m in report.milestones] == [hour(49), None, None, None]


def test_a_canceled_wave_is_not_said_to_have_updated_who_runs_a_newer_one(factory: Factory) -> None:
    """Once a later wave is on all devices, nobody runs the canceled one; nor was it withdrawn if nobody saw it."""
    factory.build(1, 2)
    factory.register(device("a"), device("b"))
    factory.init("w1", 1)
    factory.rollout("w1", uuids=["a"])
    factory.report(("a", "arm64-lmp-1", factory.now))
    waves.cancel(factory.ledger, factory.facts, "w1", None)
    factory.init("w2", 2)
    factory.complete("w2")
    factory.report(("a", "arm64-lmp-2", factory.now), ("b", "arm64-lmp-2", factory.now))
    factory.publish(Directory(factory.path.parent / "public"))
    report = ask(factory, builders("w1", "release")["wave"])
    facts = {fact.label: fact.value for fact in wave_page(report).facts}

    assert facts["Still on version 1 now"] == 0
    assert report.timeline[-1].what == "cancel"
    assert ask(factory, builders("w2", "release")["wave"]).timeline[-1].what == "promoted"


def test_what_a_wave_pruned(factory: Factory) -> None:
    """Only a completed wave took anything out of production; then its targets are named."""
    factory.build(1, 2)
    factory.init("a", 1)
    factory.complete("a")
    factory.init("b", 2, prune=(1,))
    build = builders("b", "release")["wave"]
    assert (ask(factory, build).wave.prune, ask(factory, build).pruned_targets) == ((1,), ())
    factory.complete("b")

    assert ask(factory, build).pruned_targets == ("amd64-lmp-1", "arm64-lmp-1")


def test_signatures_of_several_holders_and_signing_anew(tmp_path: Path) -> None:
    """Each holder's signature is told, and those of a re-sign apart from them."""
    factory = Factory(tmp_path / "two.db", holders=2, threshold=3)
    factory.build(1)
    factory.init("w", 1)
    factory.wait(HOUR)
    factory.sign("w", 1)
    factory.resign("w", days=400)
    report = ask(factory, builders("w", "release")["wave"])
    factory.close()
    first, second = (pair.keyid for pair in factory.keys.targets)

    assert [(s.keyid, s.again) for s in report.signatures] == [
        (first, False), (second, False), (first, True), (second, True),
    ]  # fmt: skip


def test_the_releases_of_a_tag(story: Story) -> None:
    """Its waves, its production targets, and what its devices run."""
    report = story.ask("tag")

    assert report.releases == (V7, V8)
    assert report.now.targets == (ProductionTarget("amd64-lmp-7", 7), ProductionTarget("arm64-lmp-7", 7))
    assert (report.now.latest, report.now.active_wave) == (7, None)
    assert (report.now.devices, report.now.on_latest, report.now.on_orphan) == (7, 6, 1)


def test_tag_and_fleet_have_one_newest(factory: Factory) -> None:
    """In an active wave a device is on the newest with the wave's number, outside of it with production's."""
    factory.build(7, 8)
    factory.register(*[device(f"d{n}", "stable", "canary" if n < 3 else "europe") for n in range(8)])
    factory.init("v7", 7, "stable")
    factory.complete("v7")
    factory.report(*[(f"d{n}", "arm64-lmp-7", factory.now) for n in range(7)])
    factory.init("v8", 8, "stable")
    factory.rollout("v8", group="canary")
    factory.report(("d0", "arm64-lmp-8", factory.now))
    build = builders("v8", "stable")
    tag, fleet = ask(factory, build["tag"]), ask(factory, build["fleet"])

    assert [(row.kind, row.latest, row.on_latest) for row in fleet.offered if row.tag == "stable"] == [
        ("production", 7, 4), ("wave", 8, 1),
    ]  # fmt: skip
    assert (tag.now.latest, tag.now.devices, tag.now.on_latest, tag.now.on_orphan) == (7, 8, 5, 0)
    assert Fact("On the newest offered", 5, "62 %; v8's to devices in it, else production's") in tag_page(tag).facts
    assert Fact("Updated so far", 1, "of 3 devices in the wave") in wave_page(ask(factory, build["wave"])).facts


def test_versions_over_time(story: Story) -> None:
    """A tag's devices by version from each change on; while its wave is active, its number is no orphan."""
    report = story.ask("tag")

    assert report.share.versions == (0, 7, 8)
    assert [(p.at, p.devices, p.orphans, p.counts, p.other) for p in report.share.points] == [
        (hour(0), 8, 0, (8, 0, 0), 0),
        (hour(3), 8, 0, (7, 1, 0), 0),
        (hour(5), 8, 0, (6, 2, 0), 0),
        (hour(10), 8, 0, (4, 4, 0), 0),
        (hour(30), 8, 0, (1, 7, 0), 0),
        (hour(40), 7, 0, (0, 7, 0), 0),
        (hour(49), 7, 0, (0, 6, 1), 0),
        (hour(50), 7, 1, (0, 6, 1), 0),
        (hour(74), 7, 1, (0, 6, 1), 0),
    ]


def test_a_part_of_the_history_begins_where_the_one_before_ended(story: Story) -> None:
    """Its first point is the state at its beginning, its last one that at its end."""
    report = story.ask("tag", wanted=Wanted(hour(6), hour(41)))

    assert [(p.at, p.devices, p.counts) for p in report.share.points] == [
        (hour(6), 8, (6, 2)),
        (hour(10), 8, (4, 4)),
        (hour(30), 8, (1, 7)),
        (hour(40), 7, (0, 7)),
        (hour(41), 7, (0, 7)),
    ]
    assert report.releases == (V7,)


def test_the_fleet(story: Story) -> None:
    """Who is offered what, by version, and who was heard of when."""
    report = story.ask("fleet")

    assert (report.production, report.test) == (9, 1)
    assert report.offered == (
        Offered("beta", "production", None, 0, 2, 0, 0, 0),
        Offered("main", "ci", None, 9, 1, 0, 0, 0),
        Offered("stable", "production", None, 7, 7, 6, 1, 1),
    )
    assert report.versions == (Version(0, 2, 0), Version(7, 6, 0), Version(8, 1, 1))
    steps = [(s.within, s.never, s.devices) for s in report.silence.steps]
    assert steps == [
        (4 * HOUR, False, 0), (DAY, False, 0), (7 * DAY, False, 7), (30 * DAY, False, 0), (None, False, 0),
        (None, True, 3),
    ]  # fmt: skip
    assert [d.uuid for d in report.silence.longest] == ["c1", "e0", "e1", "e2", "e3", "e4", "c0"]
    assert report.silence.longest[0].seen_at == hour(4)
    assert (report.silence.silent, report.silence.never) == (7, 3)
    last = report.share.points[-1]
    assert (last.devices, last.orphans, last.counts) == (9, 1, (2, 6, 1))


def test_of_many_silent_devices_the_fleet_says_how_many(factory: Factory) -> None:
    """Ten are listed, and the page says of how many, and how many were never heard of at all."""
    factory.build(1)
    factory.register(*[device(f"d{n:02}") for n in range(40)])
    factory.report(*[(f"d{n:02}", "arm64-lmp-1", factory.now) for n in range(28)])
    factory.wait(2 * DAY)
    factory.report(*[(f"d{n:02}", "arm64-lmp-1", factory.now) for n in range(5)])
    report = ask(factory, builders("", "release")["fleet"])
    (section,) = [section for section in fleet_page(report).sections if section.key == "longest"]

    assert len(report.silence.longest) == 10
    assert (report.silence.silent, report.silence.never) == (23, 12)
    assert "The first 10 of 23 devices" in section.note
    assert "Never heard of, and not in this table: 12." in section.note

    factory.report(*[(f"d{n:02}", "arm64-lmp-1", factory.now) for n in range(40)])
    everybody = fleet_page(ask(factory, builders("", "release")["fleet"]))
    (section,) = [section for section in everybody.sections if section.key == "longest"]
    assert section.note == "Who was ever heard of was heard of within a day."


def test_what_has_no_devices_and_offers_nothing_is_left_out(factory: Factory) -> None:
    """A tag stays while a device follows it or a target is there, and is gone with both."""

    def rows() -> list[tuple[str, int, int]]:
        report = ask(factory, builders("", "release")["fleet"])
        return [(row.tag, row.latest, row.devices) for row in report.offered]

    factory.build(1, tags=("release",))
    assert rows() == [("release", 1, 0)]
    factory.register(device("t", "release", production=False))
    factory.prune(tags=("release",))
    assert rows() == [("release", 0, 1)]
    factory.register(device("t", "main", production=False))
    assert rows() == [("main", 0, 1)]


def test_activity(story: Story) -> None:
    """Events by actor and kind add up to the ledger, and so do the bars."""
    report = story.ask("activity")
    alice, bob = report.actors[:2]

    assert [(a.actor, a.role) for a in report.actors] == [("alice", "owner"), ("bob", "admin")]
    assert (alice.inits, alice.signatures, alice.rollouts, alice.completions, alice.cancels) == (1, 1, 2, 0, 0)
    assert (bob.inits, bob.signatures, bob.rollouts, bob.completions, bob.cancels) == (1, 1, 1, 1, 1)
    assert (alice.publications, bob.publications) == (2, 3)
    assert (alice.imports, bob.imports) == (5, 3)
    assert (bob.first_at, bob.last_at) == (hour(25), hour(50))
    assert sum(a.events for a in report.actors) == report.events == story.factory.head()[0]
    for actor in report.actors:
        assert sum(getattr(actor, kind) for kind in (*KINDS, "other")) == actor.events
    assert sum(one.events for one in report.busy) == report.events
    assert [one.since for one in report.busy] == list(range(report.busy[0].since, hour(74) + 1, report.width))


def test_activity_says_what_an_actor_is(story: Story) -> None:
    """In a file a claim, in PostgreSQL a login; the page says it, and the JSON."""
    report = story.ask("activity")
    told = {"claims": "what they said they are", "logins": "who was logged in to the database"}

    assert report.actors_are == ("logins" if stores.ON_POSTGRESQL else "claims")
    for kind, words in told.items():
        assert words in page(replace(report, actors_are=kind)).lead


def test_activity_of_a_period(story: Story) -> None:
    """Only what was recorded in it, both ends included."""
    report = story.ask("activity", wanted=Wanted(hour(3), hour(5)))

    assert [(a.actor, a.imports, a.rollouts) for a in report.actors] == [("alice", 2, 1)]
    assert report.actors[0].events == report.events == 4  # two reports, a rollout, and its devices


def test_what_expires(story: Story) -> None:
    """Timestamps, targets, roots and keys, soonest first, with the devices that each would hit."""
    report = story.ask("expiry")
    found = {one.what: one for one in report.expiring}

    assert [one.expires for one in report.expiring] == sorted(one.expires for one in report.expiring)
    assert {one.kind for one in report.expiring} == {"timestamp", "targets", "root"}
    assert found["the timestamp of view production/stable"].devices == 6
    assert found["the timestamp of view held/v8"].groups == (GroupHit("canary", 1),)
    assert found["the timestamp of view ci/main"].devices == 1
    assert found["the production root, version 1"].devices == 9
    assert found["the production root, version 1"].groups == (
        GroupHit("", 1), GroupHit("canary", 2), GroupHit("europe", 6),
    )  # fmt: skip
    assert found["the ci root, version 1"].devices == 1
    stable = found["the timestamp of view production/stable"]
    assert (stable.expires, stable.left, stable.state) == (hour(50) + 7 * DAY, Span(6 * DAY), "fresh")
    offline = {key.keyid: key.roles for key in report.keys if not key.online}
    assert offline == {
        story.factory.keys.root.keyid: ("root",),
        story.factory.keys.targets[0].keyid: ("targets",),
    }


def test_what_expired_and_what_is_to_be_renewed(story: Story) -> None:
    """From half of a life on it is to be renewed, and expired from its last second on."""

    def state(now: int) -> tuple[str, int]:
        report = ask(story.factory, builders("v7", "stable")["expiry"], now)
        one = next(one for one in report.expiring if one.what == "the timestamp of view production/stable")
        return one.state, one.left

    end = hour(50) + 7 * DAY
    assert state(end - 4 * DAY) == ("fresh", 4 * DAY)
    assert state(end - 7 * DAY // 2) == ("renew", 7 * DAY // 2)
    assert state(end - 1) == ("renew", 1)
    assert state(end) == ("expired", 0)


def test_what_expires_next_may_be_several_things(story: Story) -> None:
    """All that expires in that second is told, with each of the devices that any of it hits once."""
    report = ask(story.factory, builders("v7", "stable")["expiry"], hour(3) + 7 * DAY)
    together = [one for one in report.expiring if one.expires == hour(50) + 7 * DAY]
    (fact,) = [fact for fact in expiry_page(report).facts if fact.label == "Devices it would hit"]

    assert report.soonest == Soonest(
        ("the timestamp of view held/v8", "the timestamp of view production/stable"),
        hour(50) + 7 * DAY, Span(47 * HOUR), 7,
    )  # fmt: skip
    assert sum(one.devices for one in together) == fact.value == 7
    assert report.refusing == 1  # ci/main's timestamp
    late = ask(story.factory, builders("v7", "stable")["expiry"], hour(50) + 1000 * DAY)
    assert late.refusing == 8  # by timestamp and targets, and counted once; beta has no production targets
    assert {one.kind for one in late.expiring if one.state != "expired"} == {"root"}
    assert late.soonest.devices == 10


def test_who_renews_what_with_which_command(story: Story) -> None:
    """Online keys for timestamps and CI, the holders of targets keys for documents, that of a root key for the root."""
    found = {one.what: (one.renewed_with, one.renewal) for one in story.ask("expiry").expiring}

    assert found["the timestamp of view production/stable"] == ("online", "waveledger tuf refresh")
    assert found["the targets of view held/v8"] == ("targets", "waveledger targets resign stable -k KEYS")
    assert found["the targets of view ci/main"] == ("online", "waveledger tuf refresh")
    assert found["the production root, version 1"] == ("root", "waveledger keys tuf renew-root --keys root.keys.tgz")
    assert found["the ci root, version 1"][0] == "online"


def test_what_expires_up_to_a_time(story: Story) -> None:
    """With an end, what expires later is left out, keys too."""
    until = hour(50) + 7 * DAY
    report = story.ask("expiry", wanted=Wanted(None, until))

    assert report.expiring
    assert {one.kind for one in report.expiring} == {"timestamp"}
    assert report.keys == ()


def test_a_wave_that_nobody_got_hits_nobody(factory: Factory) -> None:
    """Its targets expire all the same, and are told."""
    factory.build(1)
    factory.register(device("a"))
    factory.init("w", 1, days=30)
    report = ask(factory, builders("w", "release")["expiry"])
    (wave,) = [one for one in report.expiring if one.kind == "targets"]

    assert (wave.what, wave.devices) == ("the targets of wave w, not rolled out yet", 0)


def test_unknown_names(factory: Factory) -> None:
    """No such wave, no such tag."""
    with pytest.raises(UnknownWave):
        ask(factory, builders("nope", "nope")["wave"])
    with pytest.raises(UnknownTag):
        ask(factory, builders("nope", "nope")["tag"])


def test_the_basis_is_the_ledger(story: Story) -> None:
    """Position and root are those of the ledger; the checkpoint is the last one that was signed below it."""
    basis = story.ask("fleet").basis
    size, root = story.factory.head()

    assert (basis.head.position, basis.head.root) == (size, root.hex())
    assert basis.checkpoint is not None
    assert basis.checkpoint.position < size
    assert basis.checkpoint.note.startswith(f"waveledger/acme\n{basis.checkpoint.position}\n")
