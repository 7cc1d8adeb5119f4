"""CI targets that are pruned: what test devices see, and what waves, production and late reports keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.domain.catalog import TargetContentChanged, UnknownCiTag
from ledger.domain.initiation import NoSuchTargets
from ledger.domain.values import from_epoch, read_target
from projections import runner
from projections.tuf import verify
from projections.tuf.destination import Directory
from tests.support import Client, Factory, device, files, target


@pytest.fixture
def built(factory: Factory, tree: Directory) -> Factory:
    """Builds of three tags, one of them with two, published."""
    factory.build(1, 2, 3, hardware=["arm64"])
    factory.build(4, hardware=["arm64"], tags=["main", "qa"])
    factory.build(5, 6, hardware=["arm64"], tags=["devel"])
    factory.register(device("t", tag="main", production=False), device("a", group="canary"), device("b"))
    factory.publish(tree)
    return factory


def names(*numbers: int) -> tuple[str, ...]:
    """The names of the builds."""
    return tuple(f"arm64-lmp-{number}" for number in numbers)


def seen(tree: Directory, tag: str, clients: dict[str, Client], now: int) -> tuple[str, ...]:
    """What a client of a CI tag finds; each tag has a client that lives on."""
    client = clients.setdefault(tag, Client(tree.root.parent / f"client-{tag}"))
    return client.poll(tree, f"ci/{tag}", f"ci/{tag}", now)


def test_each_tag_has_a_condensed_view(built: Factory, tree: Directory) -> None:
    """A client of a tag gets that tag's targets and no other's, before and after prunes, and never an error."""
    clients: dict[str, Client] = {}
    tags = ("main", "qa", "devel")
    assert [seen(tree, tag, clients, built.now) for tag in tags] == [names(1, 2, 3, 4), names(4), names(5, 6)]
    before = {tag: clients[tag].seen[f"ci/{tag}"] for tag in tags}

    assert built.prune(tags=["main"], keep=1).pruned == names(1, 2)
    came = built.publish(tree)

    assert came.repositories == ["ci/main"]  # the others are not signed for it
    assert [seen(tree, tag, clients, built.now) for tag in tags] == [names(3, 4), names(4), names(5, 6)]
    built.prune("arm64-lmp-4")
    assert built.publish(tree).repositories == ["ci/main", "ci/qa"]
    assert [seen(tree, tag, clients, built.now) for tag in tags] == [names(3), (), names(5, 6)]
    built.prune(tags=["main"])
    built.publish(tree)
    assert [seen(tree, tag, clients, built.now) for tag in tags] == [(), (), names(5, 6)]
    built.build(7, hardware=["arm64"])
    built.publish(tree)
    assert seen(tree, "main", clients, built.now) == names(7)
    after = {tag: clients[tag].seen[f"ci/{tag}"] for tag in tags}
    assert after["devel"] == before["devel"]
    assert after["main"] == tuple(version + 4 for version in before["main"])
    assert built.shown("t").targets == names(7)


def test_an_empty_view_is_refreshed_like_any(built: Factory, tree: Directory) -> None:
    """A tag with nothing left keeps its view, with fresh timestamps."""
    built.prune(tags=["devel"])
    built.publish(tree)
    built.wait(4 * 86_400)

    assert "ci/devel" in built.publish(tree, refresh=True).views
    views = ["ci/devel", "ci/main", "ci/qa"]
    assert verify.check_views(tree, views, now=from_epoch(built.now))[1] == []


def test_waves_and_production_keep_what_they_have(built: Factory, tree: Directory, tmp_path: Path) -> None:
    """Pruning what is in production and what a wave is rolling out changes nothing for their devices."""
    built.init("w1", 1)
    built.complete("w1")
    built.init("w2", 2)
    built.rollout("w2", group="canary")
    built.publish(tree)
    before = {path: data for path, data in files(tree.root).items() if "production" in path or "wave" in path}

    built.prune(*names(1, 2, 3))
    built.publish(tree)

    now = {path: data for path, data in files(tree.root).items() if "production" in path or "wave" in path}
    assert now == before
    assert built.shown("a").targets == names(1, 2)
    with pytest.raises(NoSuchTargets):
        built.init("w3", 3, tag="other")
    built.complete("w2")
    built.publish(tree)
    client = Client(tmp_path / "device")
    assert client.poll(tree, "production/release", "production/release", built.now) == names(1, 2)
    assert built.differences() == []


def test_a_canceled_number_that_was_pruned(built: Factory) -> None:
    """A wave under way can be canceled as ever; its number can't be waved again, until CI brings it back."""
    built.init("w1", 1)
    built.rollout("w1", group="canary")
    built.prune("arm64-lmp-1")
    built.cancel("w1")
    with pytest.raises(NoSuchTargets):
        built.init("again", 1)

    built.build(1, hardware=["arm64"])

    built.init("again", 1)


def test_late_reports_of_pruned_targets(built: Factory) -> None:
    """A device that still runs what was pruned is counted with its number, and so after a rebuild."""
    built.prune(*names(2, 3))
    built.report(("a", "arm64-lmp-3", built.now), ("b", "never-heard-of", built.now))
    with built.ledger.reading() as connection:
        numbers = dict(connection.exec_driver_sql("SELECT uuid, number FROM fleet_device").all())
    assert (numbers["a"], numbers["b"]) == (3, 0)
    assert built.differences() == []

    runner.rebuild(built.engine, "releases")
    built.report(("b", "arm64-lmp-2", built.now + 1))

    with built.ledger.reading() as connection:
        assert dict(connection.exec_driver_sql("SELECT uuid, number FROM fleet_device").all())["b"] == 2
    assert built.differences() == []


def test_a_pruned_name_never_gets_another_content(built: Factory) -> None:
    """Another hash under a pruned name is refused, the same one is an addition, and may be pruned again."""
    built.prune("arm64-lmp-3")
    other = target(3).body | {"length": 7}
    head = built.head()
    with pytest.raises(TargetContentChanged):
        built.import_targets([read_target("arm64-lmp-3", other)])
    assert built.head() == head

    built.build(3, hardware=["arm64"])
    assert built.prune("arm64-lmp-3").pruned == ("arm64-lmp-3",)
    with pytest.raises(TargetContentChanged):
        built.import_targets([read_target("arm64-lmp-3", other)])
    assert built.differences() == []


def test_a_tag_is_known_while_it_is_empty(built: Factory) -> None:
    """Pruning an empty tag is no event; a tag that never was is not found."""
    built.prune(tags=["devel"])
    head = built.head()
    assert built.prune(tags=["devel"]).events == ()
    assert built.head() == head
    with pytest.raises(UnknownCiTag):
        built.prune(tags=["develop"])
