"""A TUF repository that is somebody else's: made by python-tuf's own classes, in the way its documentation shows.

Three roots with a rotation in each, thresholds of 2, RSA-4096 and Ed25519 keys under keyids of securesystemslib's rule,
timestamps at version 1234, targets at version 77.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Role, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import Updater

SNAPSHOT, TIMESTAMP, TARGETS = 1200, 1234, 77


@lru_cache
def key(name: str) -> CryptoSigner:
    """A key of that name; RSA-4096 when the name says so."""
    return CryptoSigner.generate_rsa(size=4096) if name.startswith("rsa") else CryptoSigner.generate_ed25519()


FIRST = {"root": ["root-a", "rsa-root"], "targets": ["hand-a", "rsa-hand"], "snapshot": ["snap"], "timestamp": ["time"]}
SECOND = {**FIRST, "root": ["rsa-root", "root-b"], "timestamp": ["time-2"]}
THIRD = {**SECOND, "targets": ["rsa-hand", "hand-b"]}
CHAIN = (FIRST, SECOND, THIRD)


def target(name: str, number: int, tags: Sequence[str], hardware_id: str = "arm64", **custom: Any) -> TargetFile:
    """A target in the way CI makes them for devices of this kind."""
    fields = {"version": str(number), "hardwareIds": [hardware_id], "tags": list(tags), **custom}
    content = name.encode()
    hashes = {"sha256": hashlib.sha256(content).hexdigest()}
    return TargetFile(len(content), hashes, name, {"custom": fields})


PRODUCTION = (
    target("os-40", 40, ["release", "beta"], uri="https://ci.example.com/40"),
    target("os-40-amd", 40, ["release"], "amd64"),
    target("os-41", 41, ["beta"]),
)


class Existing:
    """The repository in `path`, as a web server has it; key files in `path`.keys."""

    def __init__(
        self,
        path: Path,
        chain: Sequence[Mapping[str, Sequence[str]]] = CHAIN,
        thresholds: Mapping[str, int] | None = None,
        targets: Sequence[TargetFile] = PRODUCTION,
        *,
        days: int = 300,
        consistent: bool = True,
    ) -> None:
        self.path, self.keys = path, path.with_suffix(".keys")
        path.mkdir(parents=True)
        self.keys.mkdir()
        self.expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
        self.thresholds = {"root": 2, "targets": 2, "snapshot": 1, "timestamp": 1, **(thresholds or {})}
        self.consistent = consistent
        before: Sequence[str] = ()
        for version, roles in enumerate(chain, start=1):
            self.write_root(version, roles, before)
            before = roles["root"]
        self.roles = chain[-1]
        self.write_targets(targets)
        for name in {name for roles in chain for names in roles.values() for name in names}:
            (self.keys / f"{name}.pem").write_bytes(key(name).private_bytes)

    def root(self, version: int, roles: Mapping[str, Sequence[str]]) -> Root:
        """The root in which these keys have these roles."""
        root = Root(version, expires=self.expires, consistent_snapshot=self.consistent)
        for role, names in roles.items():
            root.roles[role] = Role([], self.thresholds[role])
            for name in names:
                root.add_key(key(name).public_key, role)
        return root

    def write_root(self, version: int, roles: Mapping[str, Sequence[str]], before: Sequence[str] = ()) -> None:
        """Sign it with its own keys and those of the one before it."""
        metadata = Metadata(self.root(version, roles))
        for name in dict.fromkeys([*before, *roles["root"]]):
            metadata.sign(key(name), append=True)
        self.write(f"{version}.root.json", metadata)

    def write_targets(self, targets: Sequence[TargetFile], version: int = TARGETS, path: Path | None = None) -> None:
        """Sign targets, and what leads to them."""
        metadata = Metadata(Targets(version, expires=self.expires, targets={t.path: t for t in targets}))
        self.sign(metadata, "targets", path or self.path / self.named(version, "targets"))
        if path:
            return
        snapshot = Snapshot(SNAPSHOT, expires=self.expires, meta={"targets.json": MetaFile(version)})
        self.sign(Metadata(snapshot), "snapshot", self.path / self.named(SNAPSHOT, "snapshot"))
        timestamp = Timestamp(TIMESTAMP, expires=self.expires, snapshot_meta=MetaFile(SNAPSHOT))
        self.sign(Metadata(timestamp), "timestamp", self.path / "timestamp.json")

    def named(self, version: int, role: str) -> str:
        """The file of a role."""
        return f"{version}.{role}.json" if self.consistent else f"{role}.json"

    def sign(self, metadata: Metadata[Any], role: str, path: Path) -> None:
        """Sign with all keys that the role has now."""
        for name in self.roles[role]:
            metadata.sign(key(name), append=True)
        path.write_bytes(metadata.to_bytes())

    def write(self, name: str, metadata: Metadata[Any]) -> None:
        """As python-tuf writes it."""
        (self.path / name).write_bytes(metadata.to_bytes())

    @property
    def production(self) -> Path:
        """The current targets."""
        return self.path / self.named(TARGETS, "targets")

    def adopting(self, *roots: str, targets: Sequence[str] = (), production: Sequence[Path] = ()) -> list[str]:
        """The arguments of init that adopt it with the keys of these names; all that it needs if not said."""
        named = {"--root-keys": roots or self.roles["root"], "--targets-keys": targets or self.roles["targets"]}
        keys = [part for option, names in named.items() for name in names for part in (option, self.pem(name))]
        files = [part for file in production or [self.production] for part in ("--production-targets", str(file))]
        return ["init", "--factory", "acme", "--from-roots", str(self.path), *files, *keys]

    def pem(self, name: str) -> str:
        """Where a key is."""
        return str(self.keys / f"{name}.pem")


def refresh(metadata: Path, url: str, bootstrap: Path | None = None) -> tuple[int, int, int, tuple[str, ...]]:
    """A device's refresh: its own metadata directory, any URL. Versions of root, timestamp and targets; the targets."""
    metadata.mkdir(parents=True, exist_ok=True)
    updater = Updater(str(metadata), url, bootstrap=bootstrap.read_bytes() if bootstrap else None)
    updater.refresh()
    trusted = updater._trusted_set
    targets = tuple(sorted(trusted.targets.targets))
    return trusted.root.version, trusted.timestamp.version, trusted.targets.version, targets
