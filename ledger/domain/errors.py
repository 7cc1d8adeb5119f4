"""Everything that can go wrong, one class per cause that a caller can act on.

Rules of this module:

* A class declares its fields as annotations and its text as templates over them, so message and hint are
  written in one place and a test can render every one of them.
* The families say who has to act, and each has one exit code (see `EXIT_CODES`): a rule refused the command
  (3), something named does not exist (4), somebody else was faster (5), a check found problems (6), the
  storage or the ledger's integrity failed (7), keys, signatures or TUF (8). Programmer misuse is `RuntimeError`.
"""

from __future__ import annotations

from typing import Any, ClassVar, dataclass_transform

EXIT_CODES = {
    0: "ok",
    1: "unexpected: a bug in waveledger",
    2: "usage: the command line could not be understood",
    3: "refused by a rule of the ledger",
    4: "not found",
    5: "lost a race: read again and retry",
    6: "a check ran and found problems",
    7: "storage or integrity failure",
    8: "keys, signatures or TUF metadata",
    130: "interrupted",
}


@dataclass_transform(kw_only_default=True)
class LedgerError(Exception):
    """The root of the tree. Subclasses declare fields as annotations; they are given by keyword.

    `message` and `hint` are `str.format` templates over the fields; `hint` is empty where there is no next step.
    """

    exit_code: ClassVar[int] = 1
    message: ClassVar[str] = "something went wrong"
    hint: ClassVar[str] = ""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)
        super().__init__(self.message.format(**fields))

    def render_hint(self) -> str:
        """The next step for the user, or an empty string."""
        return self.hint.format(**self.__dict__)


class Refused(LedgerError):
    """A rule of the domain said no. Nothing was appended."""

    exit_code = 3


class BadInput(Refused):
    """What was given could not be read as what it should be. Nothing was appended."""


class NotFound(LedgerError):
    """Something that was named does not exist."""

    exit_code = 4


class Conflict(LedgerError):
    """Somebody else changed the ledger in between. Nothing was appended."""

    exit_code = 5


class CheckFailed(LedgerError):
    """A check ran to its end and found problems."""

    exit_code = 6


class StorageFailure(LedgerError):
    """The store cannot be used, or what it holds is not what was written."""

    exit_code = 7


class TufFailure(LedgerError):
    """Keys, signatures or TUF metadata."""

    exit_code = 8
