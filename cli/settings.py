"""What the environment and the options before the command say, read once."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cli.errors import NotText

DEFAULT_STORE = "sqlite:///waveledger.db"
DEFAULT_ONLINE_KEYS = "keys/online"


@dataclass(frozen=True)
class Settings:
    """Flags before environment before defaults. `now` is the one reading of the clock, seconds since 1970."""

    store: str
    actor: str
    online_keys: str
    publish: str | None
    verbose: int
    now: int
    key_passphrase: str | None = field(default=None, repr=False)
    actor_flag: bool = False
    """Whether the actor was named on this command's line."""


def read(store: str | None, actor: str | None, verbose: int, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this invocation. Raises: NotText."""
    for name, value in environment.items():
        if name.startswith("WAVELEDGER_") and not is_text(value):
            raise NotText(name=name)
    return Settings(
        store=store or environment.get("WAVELEDGER_STORE") or DEFAULT_STORE,
        actor=actor or environment.get("WAVELEDGER_ACTOR") or _login(),
        actor_flag=bool(actor),
        online_keys=environment.get("WAVELEDGER_ONLINE_KEYS") or DEFAULT_ONLINE_KEYS,
        publish=environment.get("WAVELEDGER_PUBLISH") or None,
        verbose=verbose,
        now=int(datetime.now(UTC).timestamp()),
        key_passphrase=environment.get("WAVELEDGER_KEY_PASSPHRASE") or None,
    )


def is_text(value: str) -> bool:
    """Whether an argument or a variable was UTF-8: Python keeps bytes that are not as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
