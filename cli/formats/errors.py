"""What can be wrong with input from outside, one class per cause, each with its place and a next step.

A file that is not there is exit 4; everything else is refused with exit 3 (`BadInput`). Text that comes out of a
file is shown with ``!r``, so no terminal interprets it.
"""

from __future__ import annotations

from ledger.domain.errors import BadInput, NotFound
from ledger.domain.values import BadTarget, BadUuid


class FileMissing(NotFound):
    """A file that was named does not exist."""

    message = "{file}: no such file"
    hint = "check the path; '-' reads standard input"
    file: str


class FileUnreadable(BadInput):
    """The operating system does not let us read it."""

    message = "{file}: cannot be read: {problem}"
    hint = "check that it is a file and that you may read it; '-' reads standard input"
    file: str
    problem: str


class FileTooLarge(BadInput):
    """A file that is read as a whole and is larger than any real one."""

    message = "{file}: larger than {limit} bytes"
    hint = "split it, and give the parts one after the other"
    file: str
    limit: int


class BadEncoding(BadInput):
    """Bytes that are not UTF-8 text."""

    message = "{file}, line {line}: {problem}"
    hint = "save it as UTF-8 text"
    file: str
    line: int
    problem: str


class LineTooLong(BadInput):
    """A line longer than any real row."""

    message = "{file}, line {line}: longer than {limit} bytes"
    hint = "one row a line; is this the right file?"
    file: str
    line: int
    limit: int


class EmptyList(BadInput):
    """A file without a single entry: most likely an export that went wrong."""

    message = "{source}: holds no {what}"
    hint = "nothing was imported; check how the file was made"
    source: str
    what: str


class EmptyUuidList(BadInput):
    """A list of uuids without a uuid, which never means "all of them"."""

    message = "{source}: the list of device uuids is empty"
    hint = "an empty list is refused, never widened; check how it was made"
    source: str


class BadUuidInList(BadUuid):
    """A device uuid, in a file of uuids, outside the allowed alphabet or too long."""

    message = "{file}, line {line}: device uuid {uuid!r} is not allowed"
    file: str
    line: int


class NotJson(BadInput):
    """Text that is not JSON (RFC 8259), or that ends too early."""

    message = "{file}, line {line}, column {column}: not JSON: {problem}"
    hint = "was the file cut short on its way? fetch it again"
    file: str
    line: int
    column: int
    problem: str


class NotTargets(BadInput):
    """JSON, and not one of the three shapes that targets come in."""

    message = "{file}: {problem}"
    hint = 'give TUF targets metadata, {{"signed": {{"_type": "targets", ...}}}}, or a plain map from name to target'
    file: str
    problem: str


class DuplicateTarget(BadInput):
    """The same JSON key twice in one map, a target's name or a field: readers disagree on which one counts."""

    message = "{file}, line {line}: {key!r} is in the same map twice, first on line {first_line}"
    hint = "keep one of the two"
    file: str
    line: int
    key: str
    first_line: int


class BadTargetInFile(BadTarget):
    """The first bad target of a file, and how many there are."""

    message = "{file}: target {name!r}: {problem} (bad targets: {bad} of {total})"
    file: str
    bad: int
    total: int


class BadCsv(BadInput):
    """A line that is not a row of the table that its header announces."""

    message = "{file}, line {line}: {problem}"
    hint = "comma-separated values (RFC 4180), each row on one line, as many fields as the header has"
    file: str
    line: int
    problem: str


class MissingColumn(BadInput):
    """A CSV header without a column that is needed."""

    message = "{file}: the header has no column {column!r}; found: {found}"
    hint = "the first line names the columns, separated by commas, in any order: {expected}"
    file: str
    column: str
    found: str
    expected: str


class UnknownColumn(BadInput):
    """A CSV header with a column that means nothing here; left alone, a misspelled one would be lost in silence."""

    message = "{file}: the header has an unknown column {column!r}"
    hint = "remove it; the columns are: {expected}"
    file: str
    column: str
    expected: str


class BadValue(BadInput):
    """A field of a row that is not what its column holds."""

    message = "{file}, line {line}, column {column}: {problem}"
    hint = "{advice}"
    file: str
    line: int
    column: str
    problem: str
    advice: str


class DuplicateUuid(BadInput):
    """The same device twice in one file."""

    message = "{file}, line {line}: device {uuid!r} is already on line {first_line}"
    hint = "keep one of the two rows"
    file: str
    line: int
    uuid: str
    first_line: int


class RootNotInChain(BadInput):
    """A current root that the versioned ones lack, so that the chain is not all that clients have."""

    message = "{file} is none of the versioned roots in {directory}"
    hint = "add it under its version, N.root.json, or remove it if it is an older copy"
    file: str
    directory: str


class MetadataUnreadable(BadInput):
    """A file that is named like TUF metadata, and is not."""

    message = "{file} is not TUF metadata: {problem}"
    hint = "leave it out of the directory, or take it again from where clients get it"
    file: str
    problem: str


class TargetsChanged(BadInput):
    """Two readings of one file differ."""

    message = "{file} changed while it was being read"
    hint = "nothing was written; run the command again"
    file: str
