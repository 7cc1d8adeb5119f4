"""From what the user gave as a key to the function that finds the one signer in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ledger.application.waves import FindSigner


def find_with(source: str) -> FindSigner:
    """Read the keys at once (an unreadable file is refused before anything else), match them against the root later."""
    from ledger.tuf.keys import find_offline_signer, load_signers

    signers = load_signers(source)
    return lambda root, online: find_offline_signer(signers, root, "targets", source, exclude=online)
