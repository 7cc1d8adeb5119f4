"""What a wave may begin with (DESIGN §2, "init"): every check, and that they come in their order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ledger.domain.initiation import (
    ExpiryInPast,
    NoSuchTargets,
    NoTargetsWithSourceTag,
    NumberInProduction,
    NumberTooLow,
    PrunedNumberNotInProduction,
    PrunesItself,
    SeveralTargetsForHardware,
    TagHasActiveWave,
    TargetNameInProduction,
    WaveFacts,
    WaveNameUsed,
    WaveRequest,
    decide_targets,
    without_static_delta,
)
from ledger.domain.tag import OpenWave, Tag
from ledger.domain.values import read_target

NOW = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)
HASH = "ab" * 32


def target(name, number, hardware="rpi4", tags=("main",), **custom):
    """A target of CI, with whatever else its custom holds."""
    fields = {"version": str(number), "hardwareIds": [hardware], "tags": list(tags), **custom}
    return read_target(name, {"length": 10, "hashes": {"sha256": HASH}, "custom": fields})


A40, A48, A60 = (target(f"a-{number}", number) for number in (40, 48, 60))
B60 = target("b-60", 60, "gateway", ("devel",))
REQUEST = WaveRequest("v60", 60, "release", NOW + timedelta(days=365))
FACTS = WaveFacts((A60, B60), Tag("release", 48, 4), name_used=False, production={"a-40": A40, "a-48": A48})


@pytest.fixture
def init(given_state):
    """When a request, changed as said, meets facts, changed as said."""

    def when(facts=None, now=NOW, **request):
        changed = replace(FACTS, **facts or {})
        return given_state(replace(REQUEST, **request)).when(decide_targets, changed, now)

    return when


def test_the_waves_targets_are_productions_plus_the_new_ones(init):
    """The new ones are tagged with the wave's tag; nothing else of them changes."""
    came = init().result

    assert came.new == (A60.retagged("release"), B60.retagged("release"))
    assert came.all == {"a-40": A40, "a-48": A48, "a-60": came.new[0], "b-60": came.new[1]}
    assert came.pruned == ()


def test_pruned_numbers_leave(init):
    """All targets with a pruned number, and only those."""
    gateway = target("b-40", 40, "gateway")
    came = init({"production": {"a-40": A40, "b-40": gateway, "a-48": A48}}, prune=(40,)).result

    assert came.pruned == ("a-40", "b-40")
    assert sorted(came.all) == ["a-48", "a-60", "b-60"]


def test_every_custom_field_but_tags_is_kept(init):
    """Also those that Waveledger knows nothing about."""
    rich = target("a-60", 60, tags=("main", "devel"), lmp_ver="92", docker={"x": [1, None, True]}, uri="https://ci/60")
    came = init({"ci_targets": (rich,)}).result
    custom = dict(rich.body["custom"])

    assert came.new[0].body == {**rich.body, "custom": {**custom, "tags": ["release"]}}
    assert custom["tags"] == ["main", "devel"]


def test_source_tag_chooses(init):
    """With a source tag: those CI targets whose tags contain it."""
    assert [found.name for found in init(source_tag="devel").result.new] == ["b-60"]


def test_one_target_for_each_hardware_by_source_tag(init):
    """Two targets for one hardware id are fine when the source tag leaves one of them."""
    twin = target("a-60-devel", 60, tags=("devel",))

    assert [t.name for t in init({"ci_targets": (A60, twin)}, source_tag="main").result.new] == ["a-60"]


def test_the_first_wave_of_a_tag(init):
    """A tag needs no production to begin with."""
    came = init({"tag": Tag("release"), "production": {}}).result

    assert sorted(came.all) == ["a-60", "b-60"]


def test_a_canceled_number_may_be_waved_again_under_a_new_name(init):
    """What counts is the production number, and a cancel leaves it alone."""
    init({"tag": Tag("release", 48, 6)}, wave="v60b").then(init().result)


def test_a_target_without_a_static_delta_is_named():
    """Init warns when a new target has no custom.delta-stats."""
    with_delta = target("c-60", 60, "x86", **{"delta-stats": {"sha256": HASH, "size": 7}})

    assert without_static_delta([A60, with_delta, target("d-60", 60, "arm", **{"delta-stats": None})]) == (
        "a-60",
        "d-60",
    )


# Each check in its order: how a request breaks that rule, and what it is told.
TWIN = target("a2-60", 60)
BREAKS = [
    ("no CI target", {"ci_targets": ()}, {}, NoSuchTargets, 4, {"number": 60}),
    ("active wave", {"tag": Tag("release", 48, 6, OpenWave("v59", 59))}, {}, TagHasActiveWave, 3, {"wave": "v59"}),
    ("name used", {"name_used": True}, {}, WaveNameUsed, 3, {"wave": "v60"}),
    ("number too low", {"tag": Tag("release", 61, 4)}, {}, NumberTooLow, 3, {"number": 60, "highest": 61}),
    (
        "name in production",
        {"production": {"a-48": A48, "b-60": target("b-60", 40, "gateway")}},
        {},
        TargetNameInProduction,
        3,
        {"target": "b-60", "tag": "release"},
    ),
    (
        "two for one hardware",
        {"ci_targets": (A60, B60, TWIN)},
        {},
        SeveralTargetsForHardware,
        3,
        {"hardware_id": "rpi4", "targets": "a-60, a2-60"},
    ),
    ("prunes itself", {}, {"prune": (48, 60)}, PrunesItself, 3, {"number": 60}),
    ("prunes what is not there", {}, {"prune": (48, 47, 41)}, PrunedNumberNotInProduction, 3, {"numbers": "47, 41"}),
    ("expired", {}, {"expires": NOW}, ExpiryInPast, 3, {"expires": "2026-11-23T20:00:00Z"}),
]


@pytest.mark.parametrize(
    ("facts", "request_", "error", "exit_code", "fields"), [b[1:] for b in BREAKS], ids=[b[0] for b in BREAKS]
)
def test_each_rule_has_its_own_error(init, facts, request_, error, exit_code, fields):
    """One error class per cause, with what a user needs to act."""
    init(facts, **request_).refused(error, exit_code, **fields)


PAIRS = [
    (earlier, later)
    for i, earlier in enumerate(BREAKS)
    for later in BREAKS[i + 1 :]
    if not {*earlier[1]} & {*later[1]} and not {*earlier[2]} & {*later[2]}
]


@pytest.mark.parametrize(("earlier", "later"), PAIRS, ids=[f"{a[0]} before {b[0]}" for a, b in PAIRS])
def test_the_checks_come_in_their_order(init, earlier, later):
    """A request that breaks two rules is told about the earlier one."""
    init({**later[1], **earlier[1]}, **{**later[2], **earlier[2]}).refused(earlier[3], earlier[4])


def test_an_active_wave_is_told_before_a_low_number(init):
    """Both are facts of the tag."""
    init({"tag": Tag("release", 61, 6, OpenWave("v59", 59))}).refused(TagHasActiveWave)


def test_a_name_clash_is_told_before_two_targets_for_one_hardware(init):
    """Both are facts of the new targets."""
    facts = {"ci_targets": (A60, TWIN), "production": {"a2-60": target("a2-60", 40)}}

    init(facts).refused(TargetNameInProduction, target="a2-60")


def test_pruning_itself_is_told_before_pruning_what_is_not_there(init):
    """The number of the wave itself is never in production."""
    init(prune=(7, 60)).refused(PrunesItself)


def test_no_target_with_the_source_tag_names_the_tags_there_are(init):
    """Exit code 4, before any fact of the tag."""
    active = {"tag": Tag("release", 61, 6, OpenWave("v59", 59)), "name_used": True}

    init(active, source_tag="nightly").refused(NoTargetsWithSourceTag, 4, source_tag="nightly", found="devel, main")


def test_a_source_tag_is_compared_whole(init):
    """Not a part of a tag's name, not in another case."""
    for tag in ("mai", "main-x", "Main"):
        init(source_tag=tag).refused(NoTargetsWithSourceTag, 4, source_tag=tag)


@pytest.mark.parametrize("number", [40, 48])
def test_a_number_in_production(init, number):
    """The highest and any other that is there are told apart from a number that is only too low."""
    facts = {"ci_targets": (target(f"x-{number}", number),)}

    init(facts, number=number).refused(NumberInProduction, number=number, tag="release")


def test_a_number_below_production(init):
    """Production never goes back, also to a number that it never had or that was pruned."""
    init({"ci_targets": (target("x-47", 47),)}, number=47).refused(NumberTooLow, number=47, highest=48)


def test_the_tags_number_holds_also_when_nothing_is_left(init):
    """The highest production number is the tag's, whatever production holds now."""
    init({"tag": Tag("release", 60, 4), "production": {}}).refused(NumberInProduction, number=60)
    init({"tag": Tag("release", 61, 4), "production": {}}).refused(NumberTooLow, highest=61)


@pytest.mark.parametrize("seconds", [0, -1, -86400])
def test_the_expiry_is_in_the_future(init, seconds):
    """Now is not the future."""
    init(expires=NOW + timedelta(seconds=seconds)).refused(ExpiryInPast)


def test_one_second_is_future_enough(init):
    """How long is the user's business."""
    init(expires=NOW + timedelta(seconds=1)).then(init().result)


def test_pruning_says_what_there_is(init):
    """In numbers, and none when there is none."""
    init(prune=(7,)).refused(PrunedNumberNotInProduction, numbers="7", found="40, 48")
    empty = {"production": {}, "tag": Tag("release")}
    init(empty, prune=(7,)).refused(PrunedNumberNotInProduction, found="none")
