"""What init does when it adopts: from files and key sources to a ledger that goes on where another repository is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli import newledger
from cli.settings import Settings
from ledger.domain.errors import TufFailure
from ledger.domain.values import format_time, from_epoch

if TYPE_CHECKING:
    from tuf.api.metadata import Root

    from ledger.application.adoption import Adoption, FindSigner, Production
    from ledger.application.factory import FactoryKeys
    from ledger.tuf.keypair import Ask, Signer


class NotAHolder(TufFailure):
    """A key that was given is none of those that the repository's holders have, or it leaves with the adoption."""

    message = "none of the keys in {path} is a {role} key of the root that is adopted, and stays"
    hint = "name the file of a holder; the {role} keys that stay: {stay}"
    path: str
    role: str
    stay: str


@dataclass(frozen=True)
class Request:
    """What the user asks for. Sources of keys are archives, PEM files or signer URIs; `drop` has keyids, too."""

    factory: str
    keys: Path
    roots: Path
    production: Sequence[str]
    root_keys: Sequence[str]
    targets_keys: Sequence[str]
    drop: Sequence[str]
    new_holders: Sequence[str]
    threshold: int | None


def prepare(settings: Settings, asked: Request, ask: Ask) -> tuple[FactoryKeys, Adoption]:
    """Read, check and sign everything; nothing is written. Raises: what `adoption.prepare` and the readers raise."""
    from cli.formats.repositories import read_repository
    from ledger.application import adoption
    from ledger.application.factory import make_adopting_keys
    from ledger.tuf.chain import read_chain

    newledger.check(settings, asked.factory)
    repository = read_repository(str(asked.roots))
    chain = read_chain(str(asked.roots), repository.roots)
    keys = make_adopting_keys(asked.new_holders)
    given = adoption.Takeover(
        chain,
        [_production(source) for source in asked.production],
        repository.versions,
        [_find(source, "root", ask, chain.newest) for source in _root_sources(asked)],
        [_find(source, "targets", ask, chain.newest) for source in _targets_sources(asked)],
        frozenset(_keyid(source, ask, chain.newest) for source in asked.drop),
        asked.threshold,
    )
    return keys, adoption.prepare(given, keys, from_epoch(settings.now))


def create(settings: Settings, asked: Request, keys: FactoryKeys, adopted: Adoption) -> newledger.Created:
    """Write the new keys and the ledger: both or neither. The keys that were given are left as they are."""
    from ledger.application import adoption

    given = [Path(source.removeprefix("file2:")) for source in (*_root_sources(asked), *_targets_sources(asked))]
    return newledger.write(
        settings,
        asked.keys,
        keys,
        lambda session: adoption.record(session, asked.factory, keys, adopted),
        [path for path in given if path.exists()],
    )


def document(adopted: Adoption) -> dict[str, Any]:
    """What was adopted, as data."""
    root = adopted.following.root
    return {
        "root": {"first": adopted.chain.files[0][0], "adopted": adopted.chain.newest.version, "version": root.version},
        "dropped_keys": list(adopted.following.dropped),
        "versions_above": {"metadata": adopted.metadata_version, "targets": adopted.targets_version},
        "tags": [
            {
                "tag": tag.tag,
                "wave": tag.initialized.wave,
                "version": tag.initialized.number,
                "targets": len(tag.initialized.targets),
                "targets_version": tag.initialized.documents[0].version,
                "expires": format_time(tag.initialized.expires),
            }
            for tag in adopted.tags
        ],
    }


def lines(adopted: Adoption) -> list[str]:
    """What was adopted, in words."""
    root, first = adopted.following.root, adopted.chain.files[0][0]
    old = adopted.chain.newest.version
    chain = f"root {old}" if first == old else f"roots {first} to {old}"
    told = [f"took over {chain}; root {root.version} follows, signed by the same holders"]
    if adopted.following.dropped:
        told.append(f"targets keys that left, for they sign online: {', '.join(adopted.following.dropped)}")
    told += [
        f"production of tag {tag.tag}: {len(tag.initialized.targets)} targets up to number {tag.initialized.number}, "
        f"as wave {tag.initialized.wave}"
        for tag in adopted.tags
    ]
    return told


def _production(source: str) -> Production:
    from cli.formats.errors import TargetsChanged
    from cli.formats.repositories import read_bytes
    from cli.formats.targets import read_targets
    from ledger.application.adoption import Production

    data = read_bytes(source)
    targets = read_targets(source)  # for what is said of a bad one
    if read_bytes(source) != data:
        raise TargetsChanged(file=source)
    return Production(source, data, targets)


def _root_sources(asked: Request) -> Sequence[str]:
    """The keys that were named, else what init would have called them."""
    archive = asked.keys / "root.keys.tgz"
    return asked.root_keys or ([str(archive)] if archive.exists() else [])


def _targets_sources(asked: Request) -> Sequence[str]:
    found = sorted(asked.keys.glob("targets.only.key*.tgz"), key=lambda path: (len(path.name), path.name))
    return asked.targets_keys or [str(path) for path in found]


def _keyid(source: str, ask: Ask, newest: Root) -> str:
    """The keyid that the root has for a key, which is named by it or by a file or URI of the key."""
    from ledger.tuf.keys import is_uri, material, public_key_of

    if source in newest.keys or not (is_uri(source) or Path(source).exists()):
        return source
    given = material(public_key_of(source, ask))
    return next((keyid for keyid, key in newest.keys.items() if material(key) == given), source)


def _find(source: str, role: str, ask: Ask, newest: Root) -> FindSigner:
    from ledger.tuf.errors import NoMatchingKey
    from ledger.tuf.keys import find_offline_signer, load_signers

    signers = load_signers(source, ask, newest.keys.values())

    def find(root: Root, online: Collection[str]) -> Signer:
        try:
            return find_offline_signer(signers, root, role, source, exclude=online)
        except NoMatchingKey:
            stay = ", ".join(keyid for keyid in root.roles[role].keyids if keyid not in online)
            raise NotAHolder(path=source, role=role, stay=stay) from None

    return find
