"""What `keys tuf updates` shows of an open change of the root: what it does, who signed, what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.output import Format, Output, Table, show, when
from cli.rootchanges import change_lines, changes_of, waiting_document, waiting_lines

if TYPE_CHECKING:
    from ledger.application.rootupdates import Review


def show_review(found: Review, format: Format | None) -> None:
    """Print an open update."""
    document = _document(found)
    lines = [
        f"update {found.update.update}: production root {found.root.version}, expires {document['expires']}",
        *change_lines(document["changes"]),
    ]
    if found.update.targets_expires:
        lines.append(f"no live production targets expire before {document['targets_expires']}")
    if found.problem:
        lines.append(f"not possible yet: {found.problem}")
    lines += waiting_lines(found.waiting)
    lines.append("ready: waveledger keys tuf updates apply" if found.complete else "not ready: signatures are missing")
    rows = [(part["by"], part["have"], part["need"]) for part in document["signatures"]]
    rows += [
        (f"production targets, {one['owner'].replace(':', ' ')}", one["have"], one["need"])
        for one in document["targets"]
    ]
    show(Output(document, [Table(["signatures", "have", "need"], rows)], lines), format)


def _document(found: Review) -> dict[str, Any]:
    old, new = found.signed_by
    expires = found.update.targets_expires
    return {
        "update": found.update.update,
        "version": found.root.version,
        "expires": when(int(found.root.expires.timestamp())),
        "targets_expires": when(int(expires.timestamp())) if expires else None,
        "changes": changes_of(found.before, found.root),
        "signatures": [
            {
                "by": f"keys of the {which} root",
                "keyids": sorted(by),
                "have": len(by),
                "need": root.roles["root"].threshold,
            }
            for which, by, root in (("current", old, found.before), ("next", new, found.root))
        ],
        "targets": [
            {
                "owner": one.anew.before.owner,
                "documents": [{"view": d.view, "version": d.version} for d in one.anew.documents],
                "keyids": [by.keyid for by in (*one.signers, *one.also)],
                "have": len(one.signers),
                "need": one.need,
            }
            for one in found.documents
            if one.anew.documents
        ],
        "waiting": waiting_document(found.waiting),
        "problem": found.problem,
        "ready": found.complete,
    }
