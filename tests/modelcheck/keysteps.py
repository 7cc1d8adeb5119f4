"""What may happen to keys: rotations, renewals, thresholds, updates by several holders, documents signed anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from securesystemslib.signer import Key
from tuf.api.metadata import Root

from ledger.application import keys, resign, rootchange, rootupdates
from ledger.domain.values import from_epoch
from ledger.tuf import rootchange as edits
from ledger.tuf.keypair import KeyPair, Signer, generate
from ledger.tuf.online import OnlineKeys
from tests.modelcheck.steps import Step
from tests.modelcheck.world import TAGS, World
from tests.support import LIFETIME_SECONDS

Numbers = tuple[int, int, int, int]

ROOT_STEPS = {
    "renew_root", "rotate_root", "rotate_targets", "rotate_online", "rotate_ci",
    "add_targets_key", "remove_targets_key", "threshold", "updates",
}  # fmt: skip
NEW_KEYS_ONLY = {
    "init",
    "complete_held",
    "sign",
    "resign",
}  # what signs documents with the keys of the newest root alone


@dataclass
class KeyWorld(World):
    """A world whose keys change."""

    root_pairs: list[KeyPair] = field(init=False)
    target_pairs: list[KeyPair] = field(init=False)
    online: dict[str, KeyPair] = field(init=False)
    replaced: list[KeyPair] = field(default_factory=list)
    roots_changed: int = 0
    changed_in_poll: bool = False
    unshown: int = 0  # changes of the root, and what was signed under them alone, since the last publication

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.factory.keys.root is not None
        self.root_pairs = [self.factory.keys.root]
        self.target_pairs = list(self.factory.keys.targets)
        self.online = dict(self.factory.keys.online)

    def act(self, step: Step) -> bool:
        """As any step; a refresh that spans two changes of the root is not promised to succeed."""
        if self.polling is None:
            self.changed_in_poll = False
        elif self.unshown > 1 or ((self.changed_in_poll or self.unshown) and step.action in NEW_KEYS_ONLY | ROOT_STEPS):
            return False
        if self.unshown and step.action in NEW_KEYS_ONLY:
            self.unshown += 1
        before = self.roots_changed
        done = super().act(step)
        self.changed_in_poll |= self.polling is not None and self.roots_changed > before
        return done

    def emit(self, *, refresh: bool = False, force: bool = False, everything: bool = True) -> None:
        """As any publication."""
        super().emit(refresh=refresh, force=force, everything=everything)
        if not self.outage:
            self.unshown = 0

    def sign_online(self, kind: str, role: str, signed: bytes) -> bytes:
        """A file as the online key of that role would have signed it."""
        from ledger.tuf import documents

        signer = self.online[f"{kind}.{role}"]
        return documents.file_bytes(signed, [(signer.keyid, signer.sign(signed))])

    # The keys in use.

    def _expires(self) -> timedelta:
        return timedelta(seconds=LIFETIME_SECONDS + self.roots_changed * 60)

    def _change(self, told: str, change: Callable[[], object]) -> None:
        self._do(told, change)
        self.roots_changed += 1
        self.unshown += 1

    def _keep(self) -> None:
        """Let the factory sign with the keys as they are now; replaced online keys stay at hand."""
        held = replace(self.factory.keys, root=self.root_pairs[0], targets=tuple(self.target_pairs), online=self.online)
        self.factory.keys, self.factory.holders = held, len(self.target_pairs)
        self.factory.online = OnlineKeys([*self.online.values(), *self.replaced, held.ledger], "memory")

    def _edit(
        self, told: str, edit: Callable[[Root], None], roots: Sequence[Signer] = (), targets: Sequence[Signer] = ()
    ) -> None:  # fmt: skip
        """One change of the production root by whoever holds all keys."""
        expires = from_epoch(self.factory.now) + self._expires()
        plan = rootchange.Plan(edit, expires, [*self.root_pairs, *roots], [*self.target_pairs, *targets])
        self._change(told, lambda: rootchange.change(self.factory.ledger, self.factory.facts, plan))

    # What may happen.

    def _renew_root(self, n: Numbers) -> None:
        expires = from_epoch(self.factory.now) + self._expires() + timedelta(days=30)
        self._change(
            "renew root",
            lambda: keys.renew_root(self.factory.ledger, self.factory.facts, expires, self.root_pairs),
        )

    def _rotate_root(self, n: Numbers) -> None:
        self._rotate_offline("root", self.root_pairs, n[0] % len(self.root_pairs))

    def _rotate_targets(self, n: Numbers) -> None:
        self._rotate_offline("targets", self.target_pairs, n[0] % len(self.target_pairs))

    def _rotate_offline(self, role: str, pairs: list[KeyPair], place: int) -> None:
        new = generate("ed25519")
        rotation = keys.OfflineRotation(
            role, pairs[place].keyid, new, from_epoch(self.factory.now) + self._expires(),
            self.root_pairs, self.target_pairs,
        )  # fmt: skip
        self._change(
            f"rotate offline {role} key {place}",
            lambda: keys.rotate_offline_key(self.factory.ledger, self.factory.facts, rotation),
        )
        pairs[place] = new
        self._keep()

    def _rotate_online(self, n: Numbers) -> None:
        role = ("targets", "snapshot", "timestamp")[n[0] % 3]
        old, new = self.online[f"production.{role}"], generate("ed25519")
        rotation = keys.OnlineRotation(
            role, new, from_epoch(self.factory.now) + self._expires(), self.root_pairs, self.target_pairs, old
        )
        self._change(
            f"rotate online {role} key",
            lambda: keys.rotate_online_key(self.factory.ledger, self.factory.facts, rotation),
        )
        self._replace_online(f"production.{role}", new)

    def _rotate_ci(self, n: Numbers) -> None:
        role = keys.CI_ROLES[n[0] % 4]
        new = generate("ed25519")
        expires = from_epoch(self.factory.now) + self._expires()
        self._change(
            f"rotate CI's {role} key",
            lambda: keys.rotate_ci_key(
                self.factory.ledger, self.factory.facts, role, new, self.factory.online, expires
            ),
        )
        self._replace_online(f"ci.{role}", new)

    def _replace_online(self, name: str, new: KeyPair) -> None:
        self.replaced.append(self.online[name])
        self.online[name] = new
        self._keep()

    def _add_targets_key(self, n: Numbers) -> bool:
        if len(self.target_pairs) > 2:
            return False
        new = generate("ed25519")
        self._edit("add a targets key", lambda root: edits.add_key(root, "targets", new.key))
        self.target_pairs.append(new)
        self._keep()
        return True

    def _remove_targets_key(self, n: Numbers) -> bool:
        if len(self.target_pairs) < self.factory.threshold:
            return False
        gone = self.target_pairs[n[0] % len(self.target_pairs)]
        self._edit(f"remove targets key {n[0] % len(self.target_pairs)}", self._remover("targets", gone.key))
        self.target_pairs.remove(gone)
        self._keep()
        return True

    @staticmethod
    def _remover(role: str, key: Key) -> Callable[[Root], None]:
        return lambda root: edits.remove_key(root, role, str(edits.keyid_of(root, key)))

    def _threshold(self, n: Numbers) -> bool:
        threshold = 5 - self.factory.threshold
        if len(self.target_pairs) < threshold - 1:
            return False

        def edit(root: Root) -> None:
            root.roles["targets"].threshold = threshold

        self._edit(f"set threshold {threshold}", edit)
        self.factory.threshold = threshold
        return True

    def _updates(self, n: Numbers) -> None:
        """The same by several holders: one targets key in the place of another, every holder signs alone."""
        ledger, facts = self.factory.ledger, self.factory.facts
        place, new = n[0] % len(self.target_pairs), generate("ed25519")
        old = self.target_pairs[place]
        expires = from_epoch(self.factory.now) + self._expires()

        def change() -> None:
            rootupdates.begin(ledger, facts, expires)
            rootupdates.edit(ledger, facts, lambda root: edits.add_key(root, "targets", new.key))
            rootupdates.edit(ledger, facts, self._remover("targets", old.key))
            for pair in self.root_pairs:
                rootupdates.sign(ledger, facts, rootupdates.find_among([pair], "memory"))
            with ledger.reading() as connection:
                wanted = any(one.need for one in rootupdates.review(connection, facts, self.factory.now).documents)
            for pair in [*self.target_pairs, new] if wanted else []:
                rootupdates.sign_targets(ledger, facts, rootupdates.find_among([pair], "memory"))
            rootupdates.apply(ledger, facts)

        self._change(f"update: another targets key {place}", change)
        self.target_pairs[place] = new
        self._keep()

    def _resign(self, n: Numbers) -> None:
        names = [*TAGS, *(f"wave:{w.name}" for w in self.waves.values() if w.status != "complete")]
        name = names[n[0] % len(names)] if n[1] % 2 else TAGS[n[0] % 2]
        expires = from_epoch(self.factory.now) + timedelta(days=2000 + n[2]) if n[2] % 2 else None
        request = resign.ResignRequest(name, expires)
        signers = self.target_pairs[: self.factory.threshold - 1]
        self._do(
            f"resign {name}{' later' if expires else ''}",
            lambda: resign.resign(self.factory.ledger, self.factory.facts, request, lambda _root, _online: signers),
        )
