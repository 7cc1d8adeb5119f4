"""CI targets (DESIGN §2, "CI targets")."""

from __future__ import annotations

import copy

import pytest

from ledger.domain import catalog
from ledger.domain.catalog import Import, Prune, TargetContentChanged, UnknownCiTargets
from ledger.domain.events import BATCH, CiTargetsImported, CiTargetsPruned
from ledger.domain.values import read_target

SHA = "ab" * 32
BODY = {"length": 10, "hashes": {"sha256": SHA}, "custom": {"version": "48", "hardwareIds": ["rpi4"], "tags": ["main"]}}


def target(name="a-48", body=BODY, **custom):
    """A target with other custom fields."""
    return read_target(name, {**body, "custom": {**BODY["custom"], **custom}})


@pytest.fixture
def given(given_state):
    """Known CI targets."""
    return lambda *targets: given_state({t.name: t.body for t in targets})


def test_import_adds(given):
    """Targets that are new."""
    new = target()

    given().when(catalog.import_targets, [new], "ci.json").then(
        Import((CiTargetsImported("ci.json", {"a-48": new.body}),), ("a-48",), (), ())
    )


def test_the_same_again_is_no_event(given):
    """The order of fields and a copy of the same content change nothing."""
    again = read_target("a-48", dict(reversed(copy.deepcopy(BODY).items())))

    given(target()).when(catalog.import_targets, [again], "ci.json").then(Import((), (), (), ("a-48",)))


def test_other_custom_fields_replace(given):
    """Only the changed target is in the event."""
    changed = target(tags=["main", "devel"])
    same = target("b-48", hardwareIds=["gateway"])

    given(target(), same).when(catalog.import_targets, [changed, same], "ci.json").then(
        Import((CiTargetsImported("ci.json", {"a-48": changed.body}),), (), ("a-48",), ("b-48",))
    )


@pytest.mark.parametrize(("before", "after"), [(True, 1), (1, True), (False, 0), (0, False)])
def test_true_is_not_one(given, before, after):
    """To Python True == 1; to a device that reads JSON it is another content."""
    now = target(flag=after, deep=[{"flag": after}])

    given(target(flag=before, deep=[{"flag": before}])).when(catalog.import_targets, [now], "ci.json").then(
        Import((CiTargetsImported("ci.json", {"a-48": now.body}),), (), ("a-48",), ())
    )


OTHER_CONTENT = {
    "another hash": ({**BODY, "hashes": {"sha256": "cd" * 32}}, "hashes"),
    "one more hash": ({**BODY, "hashes": {"sha256": SHA, "sha512": "cd" * 64}}, "hashes"),
    "another algorithm": ({**BODY, "hashes": {"sha512": "cd" * 64}}, "hashes"),
    "another length": ({**BODY, "length": 11}, "length"),
}


@pytest.mark.parametrize(("body", "field"), OTHER_CONTENT.values(), ids=OTHER_CONTENT)
def test_a_known_name_with_another_hash_or_length_is_refused(given, body, field):
    """A target's name stands for its content; nothing of the import is taken in."""
    given(target()).when(catalog.import_targets, [target("b-48"), target(body=body)], "ci.json").refused(
        TargetContentChanged, target="a-48", field=field
    )


def test_absence_removes_nothing(given):
    """An import without a known target is no news about it."""
    given(target(), target("b-48")).when(catalog.import_targets, [target()], "ci.json").then(
        Import((), (), (), ("a-48",))
    )


def test_many_targets_are_batches(given):
    """At most a thousand an event, all in order, none twice."""
    targets = [target(f"a-{i}", version=str(i + 1)) for i in range(2 * BATCH + 1)]
    came = given().when(catalog.import_targets, targets, "ci.json").result

    assert [len(event.targets) for event in came.events] == [BATCH, BATCH, 1]
    assert [name for event in came.events for name in event.targets] == [t.name for t in targets]


def test_nothing_at_all(given):
    """An import of nothing comes to nothing."""
    given().when(catalog.import_targets, [], "ci.json").then(Import((), (), (), ()))


# prune


def test_a_pruned_name_still_stands_for_its_content(given):
    """It may come back, also with other custom fields and as an addition, but not with another hash or length."""
    back = target(tags=["devel"])
    pruned = {"a-48": target().body}

    given().when(catalog.import_targets, [back], "ci.json", pruned).then(
        Import((CiTargetsImported("ci.json", {"a-48": back.body}),), ("a-48",), (), ())
    )
    for body, field in OTHER_CONTENT.values():
        given().when(catalog.import_targets, [target(body=body)], "ci.json", pruned).refused(
            TargetContentChanged, target="a-48", field=field
        )


def test_prune_by_name(given):
    """Exactly the names, each once."""
    given(target(), target("b-48"), target("c-48")).when(catalog.prune_named, ["c-48", "a-48", "c-48"]).then(
        Prune((CiTargetsPruned(("a-48", "c-48")),), ("a-48", "c-48"), ())
    )


def test_unknown_names_refuse_the_whole_prune(given):
    """All unknown ones are listed."""
    given(target()).when(catalog.prune_named, ["x", "a-48", "y"]).refused(UnknownCiTargets, exit_code=4, names="x, y")


def builds(*numbers, tags=("main",)):
    """Two hardware variants of each number."""
    return [
        target(f"{hardware}-{number}", version=str(number), hardwareIds=[hardware], tags=list(tags))
        for number in numbers
        for hardware in ("arm", "x86")
    ]


def test_prune_by_tag():
    """All that have the tag and no other; those with others too are named."""
    tagged = [*builds(1, 2), *builds(3, tags=("main", "qa"))]

    came = catalog.prune_tagged(tagged, ["main"])

    assert came == Prune((CiTargetsPruned(came.pruned),), ("arm-1", "arm-2", "x86-1", "x86-2"), ("arm-3", "x86-3"))


def test_prune_by_several_tags():
    """Exactly that set, in whatever order a target lists it."""
    tagged = [*builds(1), *builds(2, tags=("qa", "main")), *builds(3, tags=("main", "qa", "devel"))]

    came = catalog.prune_tagged(tagged, ["main", "qa"])

    assert (came.pruned, came.shared) == (("arm-2", "x86-2"), ("arm-3", "x86-3"))


@pytest.mark.parametrize(
    ("keep", "kept"), [(0, set()), (1, {100}), (2, {100, 20}), (3, {100, 20, 3}), (4, {100, 20, 3})]
)
def test_keep_last_counts_numbers(keep, kept):
    """The newest by number, not by name or order, with all variants; keeping more than there are keeps all."""
    came = catalog.prune_tagged(builds(20, 3, 100), ["main"], keep)

    assert {int(name.partition("-")[2]) for name in came.pruned} == {3, 20, 100} - kept
    assert len(came.pruned) == 2 * (3 - min(len(kept), 3))
    assert bool(came.events) == bool(came.pruned)


def test_a_large_prune_is_in_batches():
    """At most a thousand names an event."""
    came = catalog.prune_tagged(builds(*range(1, BATCH + 2)), ["main"])

    assert [len(event.names) for event in came.events] == [BATCH, BATCH, 2]
    assert tuple(name for event in came.events for name in event.names) == came.pruned
