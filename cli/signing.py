"""From what the user gave as a key to who signs: passphrases, archives, PEM files and signer URIs.

Everything here may ask a person, a token or a service, so it is done before the ledger is read or locked.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from cli.context import reading, settings_of
from cli.lazy import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from securesystemslib.signer import Key
    from sqlalchemy import Connection

    from ledger.application.waves import FindSigner
    from ledger.tuf.keys import Ask, Signer
    from ledger.tuf.online import OnlineKeys

_ANSWERS = "waveledger.passphrases"


def asker(ctx: typer.Context) -> Ask:
    """Who knows passphrases and PINs: WAVELEDGER_KEY_PASSPHRASE, else the terminal, where each is asked for once."""
    given = settings_of(ctx).key_passphrase
    answers: dict[str, str] = ctx.find_root().meta.setdefault(_ANSWERS, {})

    def ask(what: str) -> str | None:
        if given is not None:
            return given
        if what not in answers:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                return None
            answers[what] = _prompt(printable(what))
        return answers[what]

    return ask


def open_signers(ctx: typer.Context, source: str) -> list[Signer]:
    """All private keys of a source, those of signer URIs among the keys of the ledger's roots."""
    from ledger.tuf.keys import is_uri, load_signers

    listed: list[Key] = []
    if is_uri(source):
        with reading(ctx) as connection:
            listed = listed_keys(connection)
    return load_signers(source, asker(ctx), listed)


def find_with(ctx: typer.Context, source: str) -> FindSigner:
    """Open the keys at once (an unreadable file is refused before anything else), match them with the root later."""
    from ledger.tuf.keys import find_offline_signer

    signers = open_signers(ctx, source)
    return lambda root, online: find_offline_signer(signers, root, "targets", source, exclude=online)


def open_online(ctx: typer.Context, also: Iterable[Key] = ()) -> OnlineKeys | None:
    """The configured online keys, also under the keyids that the roots have for them; None where there are none.

    `also` are keys of roots that the ledger does not know yet.
    """
    from ledger.tuf.online import find_online

    with reading(ctx) as connection:
        known = {key.keyid: key for key in (*listed_keys(connection), *also)}
    return find_online(settings_of(ctx).online_keys, known, asker(ctx))


def listed_keys(connection: Connection) -> list[Key]:
    """The keys of both repositories' roots, from before the oldest one that is shown, and the ledger's own."""
    from ledger.tuf import roots
    from ledger.tuf.keys import ed25519_key
    from projections.tuf import state

    known = []
    for kind in ("production", "ci"):
        chain = state.roots(connection, kind)
        # The root before: a key that was replaced signs along for a while.
        first = min(state.oldest_shown_root(connection, kind), chain[-1][0]) - 1
        known += [roots.load_root(data).signed for version, data in chain if version >= first]
    ledger_keys = {hexed for root in known if (hexed := roots.ledger_key(root))}
    return [key for root in known for key in root.keys.values()] + [ed25519_key(hexed) for hexed in ledger_keys]


def _prompt(what: str) -> str:
    try:
        answer: str = typer.prompt(what[0].upper() + what[1:], hide_input=True, err=True)
    except typer.Abort:
        raise KeyboardInterrupt from None
    return answer
