"""Root chains that grow long: who can follow them, and that the owners hear of it in time.

python-tuf's client takes at most 256 roots in one walk, and a client that is given an embedded root walks from there
each time, through those it has seen as well. So it never passes its embedded root + 256.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from tuf.api.exceptions import ExpiredMetadataError
from tuf.ngclient import Updater

from cli import attention
from ledger.application import keys
from ledger.domain.values import from_epoch
from projections.queries import expiry
from projections.tuf import state
from projections.tuf.destination import Directory
from projections.tuf.verify import DestinationFetcher
from tests.support import LIFETIME_SECONDS, START, Factory, device

VIEW = "production/release"
FOUND = ("arm64-lmp-1",)


def renew(factory: Factory, until: int, seconds: int = 1) -> None:
    """Renew the production root until its chain has so many versions, each for `seconds` longer than the last."""
    with factory.ledger.reading() as connection:
        version = factory.facts.trusted(connection, "production").version
    for number in range(version + 1, until + 1):
        expires = from_epoch(START + LIFETIME_SECONDS) + timedelta(seconds=number * seconds)
        keys.renew_root(factory.ledger, factory.facts, expires, [factory.keys.root])


def warnings(factory: Factory) -> list[str]:
    """What status says of root chains."""
    with factory.ledger.reading() as connection:
        return [text for text in attention.warnings(connection, factory.now) if "more root versions" in text]


class Long(NamedTuple):
    """A factory with a long root chain, and what status said on the way there, by the newest version."""

    factory: Factory
    said: dict[int, list[str]]


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Long]:
    """A factory whose production root is at version 256, with production targets; copy it before you change it."""
    made = Factory(tmp_path_factory.mktemp("chain") / "ledger.db")
    made.build(1, hardware=["arm64"])
    made.register(device("a"))
    made.init("w1", 1, days=4000)
    made.complete("w1")
    said = {}
    for version in (200, 201, 255, 256):
        renew(made, version)
        said[version] = warnings(made)
    yield Long(made, said)
    made.close()


@pytest.fixture
def copy(long: Long, tmp_path: Path) -> Iterator[Factory]:
    """One of this test's own."""
    made = long.factory.copy(tmp_path / "ledger.db")
    yield made
    made.close()


def walk(factory: Factory, tree: Directory, place: Path, embedded: int) -> int:
    """A device with an embedded root, new or as it was last time, refreshes; the version of the root it trusts then."""
    place.mkdir(exist_ok=True)
    with factory.ledger.reading() as connection:
        roots = dict(state.roots(connection, "production"))
    client = Updater(
        metadata_dir=str(place),
        metadata_base_url=f"tree:///{VIEW}/",
        fetcher=DestinationFetcher(tree),
        bootstrap=roots[embedded],
    )
    client._trusted_set.reference_time = from_epoch(factory.now)
    client.refresh()
    assert tuple(client._trusted_set.targets.targets) == FOUND
    version: int = client._trusted_set.root.version
    return version


def test_warned_at_200(long: Long) -> None:
    """Not before bootstrap + 200; from then on with the number of versions that are left."""
    assert long.said[200] == []
    (text,) = long.said[201]
    assert text == (
        "the production root is at version 201: 55 more root versions until clients that start from root 1 can't "
        "follow; ship devices with a newer root: waveledger keys tuf show-root --prod --format json"
    )
    assert [text.partition(" more")[0] for version in (255, 256) for text in long.said[version]] == [
        "the production root is at version 255: 1",
        "the production root is at version 256: 0",
    ]


def test_a_chain_of_256(copy: Factory, tree: Directory, tmp_path: Path) -> None:
    """Clients that start from version 1, from a later one and from the newest all get there and find their target."""
    copy.publish(tree)

    for embedded in (1, 2, 200, 256):
        place = tmp_path / f"client-{embedded}"
        assert walk(copy, tree, place, embedded) == 256
        assert walk(copy, tree, place, embedded) == 256


def test_behind_the_last_root_that_a_client_can_load(copy: Factory, tree: Directory, tmp_path: Path) -> None:
    """A client stops at its embedded root + 256 for ever, and is locked out when that one expires; later ones go on."""
    renew(copy, 258)
    copy.publish(tree)

    assert walk(copy, tree, tmp_path / "first", 1) == 257
    assert walk(copy, tree, tmp_path / "first", 1) == 257
    assert walk(copy, tree, tmp_path / "second", 2) == 258
    with copy.ledger.reading() as connection:
        said = [text for text in attention.warnings(connection, copy.now) if "can't follow any more" in text]
        assert expiry.long_chains(connection) == [expiry.LongChain("production", 1, 258, -2)]
    assert len(said) == 1
    copy.now = START + LIFETIME_SECONDS + 257  # the moment when root 257 expires
    copy.publish(tree, refresh=True)
    with pytest.raises(ExpiredMetadataError):
        walk(copy, tree, tmp_path / "first", 1)
    assert walk(copy, tree, tmp_path / "second", 2) == 258
