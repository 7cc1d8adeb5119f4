"""Deliberate faults: what the design avoids, done all the same. The model check must find each of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from ledger.application import live, waves
from ledger.domain import wave
from ledger.domain.events import TargetsResigned, WaveCanceled, WaveClosed, WaveResigned
from ledger.tuf import canonical, documents
from projections.tuf import publish
from tests.modelcheck.check import Check, Mutant
from tests.modelcheck.steps import KEYS_ABOVE_ALL


@contextmanager
def replaced(owner: object, name: str, value: object) -> Iterator[None]:
    """Another value under that name of a module or an object."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def build_numbers(check: Check) -> Iterator[None]:
    """The targets version is the build number, as Foundries has it; so there is no room for recovery documents."""
    prepare = waves._prepare

    def numbered(connection: Any, request: Any, trusted: Any, known: Any, now: int) -> waves.Prepared:
        prepared = prepare(connection, request, trusted, known, now)
        own = prepared.initialized.documents[0]
        body = documents.split_targets(str(own.signed).encode()).body
        signed = documents.targets_signed(request.number, own.expires, body)
        own = replace(own, version=request.number, signed=signed.decode())
        return replace(prepared, initialized=replace(prepared.initialized, documents=(own,)), to_sign=(signed,))

    with replaced(waves, "_prepare", numbered):
        yield


@contextmanager
def no_recovery(check: Check) -> Iterator[None]:
    """A cancel sends devices back to the documents that their views had before."""
    cancel = wave.cancel

    def unrecovered(state: wave.Wave, reason: str | None) -> tuple[WaveCanceled, WaveClosed]:
        canceled, closed = cancel(state, reason)
        held = tuple(r for r in closed.recovered if r.view == f"held/{canceled.wave}")
        return canceled, replace(closed, recovered=held)

    with replaced(wave, "cancel", unrecovered):
        yield


@dataclass
class _PerView:
    """Timestamps and snapshots numbered anew, 1, 2, 3 in each view, as the web server sends them."""

    check: Check
    seen: dict[str, list[int]] = field(default_factory=dict)

    def read(self, path: str) -> bytes | None:
        view, _, name = path.rpartition("/")
        if name == "timestamp.json":
            return self._timestamp(view)
        if name.endswith(".snapshot.json"):
            number = int(name.partition(".")[0])
            return self._snapshot(view, number) if number <= len(self.seen.get(view, ())) else None
        return self.check.server.file(path)

    def _timestamp(self, view: str) -> bytes | None:
        data = self.check.server.file(f"{view}/timestamp.json")
        if data is None:
            return None
        signed = orjson.loads(data)["signed"]
        seen = self.seen.setdefault(view, [])
        if signed["version"] not in seen:
            seen.append(signed["version"])
        number = seen.index(signed["version"]) + 1
        snapshot = self._snapshot(view, number)
        hashes = {"sha256": hashlib.sha256(snapshot).hexdigest()}
        meta = {"snapshot.json": {"hashes": hashes, "length": len(snapshot), "version": number}}
        return self._signed(view, "timestamp", {**signed, "version": number, "meta": meta})

    def _snapshot(self, view: str, number: int) -> bytes:
        data = self.check.server.file(f"{view}/{self.seen[view][number - 1]}.snapshot.json")
        assert data is not None
        return self._signed(view, "snapshot", {**orjson.loads(data)["signed"], "version": number})

    def _signed(self, view: str, role: str, signed: Mapping[str, Any]) -> bytes:
        kind = "ci" if view.startswith("ci/") else "production"
        return self.check.world.sign_online(kind, role, canonical.encode(signed))


@contextmanager
def counter_per_view(check: Check) -> Iterator[None]:
    """Each view counts its timestamps and snapshots for itself."""
    with replaced(check.server, "read", _PerView(check).read):
        yield


@contextmanager
def no_dual_signing(check: Check) -> Iterator[None]:
    """After a change of keys the new ones sign alone, offline and online; only the root is signed by both."""
    event = live.SignedAnew.event

    def by_new_keys(self: live.SignedAnew, lane: int) -> TargetsResigned | WaveResigned:
        return event(replace(self, also=()), lane)

    with (
        replaced(live.SignedAnew, "event", by_new_keys),
        replaced(publish._Publication, "_sign_along", lambda self, role, signed: []),
    ):
        yield


MUTANTS: dict[str, Mutant] = {
    "build numbers as versions": build_numbers,
    "one counter per view": counter_per_view,
    "no recovery document": no_recovery,
    "no dual signing": no_dual_signing,
}

WEIGHTS_OF = {"no dual signing": KEYS_ABOVE_ALL}
"""Where a fault shows in rare steps only: how often each is drawn then."""
