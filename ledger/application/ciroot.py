"""Renewing the CI root: the one root whose key is online, so a refresh does it without anybody's help.

Rules of this module:

* The same keys and thresholds, one version more, a year from now. Old and new root accept the same documents, so
  nothing else is signed for it.
* It is recorded under the actor, as every event, and only if no other machine was faster.
* Where the CI root's key is elsewhere nothing is done: `status` says that it is time, and on which machine.
"""

from __future__ import annotations

from datetime import datetime

from ledger.application.facts import ReleaseFacts
from ledger.domain.events import RootPublished
from ledger.domain.values import from_epoch
from ledger.session import Ledger
from ledger.store import events
from ledger.store.errors import StreamChanged
from ledger.tuf import rootchange, roots
from ledger.tuf.online import OnlineKeys

CI = "ci"


def renew(ledger: Ledger, facts: ReleaseFacts, keys: OnlineKeys, *, dry_run: bool = False) -> RootPublished | None:
    """Give the CI root another year when half of its life is over; the new root, or None when it is not to be done.

    Raises: NotEnoughSignatures, when too few of the keys that its threshold asks for are here.
    """
    with ledger.reading() as connection:
        if not facts.root_aged(connection, CI, ledger.now):
            return None
        trusted = facts.trusted(connection, CI)
        version = events.stream_version(connection, "trust")
    expires = from_epoch(ledger.now) + roots.LIFETIME
    file = _signed(trusted.metadata, keys, expires)
    if file is None:
        return None
    event = RootPublished(CI, trusted.version + 1, expires, file.decode())
    try:
        with ledger.writing(dry_run=dry_run) as session:
            session.append("trust", [event], expected=version)
    except StreamChanged:
        return None  # another machine was faster, or somebody changes the roots at this moment; the next refresh looks
    return event


def _signed(metadata: bytes, keys: OnlineKeys, expires: datetime) -> bytes | None:
    previous = roots.load_root(metadata).signed
    role = previous.roles["root"]
    known = keys.knowing(previous.keys[keyid] for keyid in role.keyids)
    missing = set(known.missing(role.keyids))
    signers = [known.signer(keyid, "ci root") for keyid in role.keyids if keyid not in missing]
    if not signers:
        return None
    file = roots.sign_root(rootchange.successor(previous, expires), signers)
    roots.require_trusted(roots.load_root(file), previous)
    return file
