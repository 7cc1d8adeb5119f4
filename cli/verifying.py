"""What `tuf verify` does: find out what there is to look at, and say what was found and what helps."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.context import destination, open_store, settings_of
from cli.output import Format, Output, Table, say, show
from cli.settings import DEFAULT_STORE

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from projections.tuf.checkup import Report
    from projections.tuf.destination import Destination
    from projections.tuf.verify import Finding

_CAUSES = {
    "Ahead": "ahead",
    "BadVersionNumberError": "behind",
    "Behind": "behind",
    "MissingView": "behind",
    "NoViews": "behind",
    "RootNotReached": "roots",
    "UnsignedMetadataError": "forged",
    "UnknownView": "unknown",
}
_CHANGED = (
    "somebody changed it. waveledger tuf publish NEW-DIR writes the tree again, from the ledger: compare the two, and "
    "serve the new one"
)
# The worst first. A tree that is ahead has files, too, that this ledger does not know: its own would take clients back.
_ADVICE = {
    "forged": _CHANGED,
    "ahead": (
        "an older ledger was restored, or it is another ledger's tree: waveledger tuf publish {place} tells the way "
        "out. Serve no other tree meanwhile: it would take clients back"
    ),
    "changed": _CHANGED,
    "unknown": (
        "left by a ledger that is lost (after targets resign --above), or put there by somebody: no device is sent to "
        "a view that the ledger does not know; look at it, and delete it"
    ),
    "roots": (
        "devices that are made with root 1 can't follow so many roots: make new ones with a later root, and update the "
        "others in time"
    ),
    "behind": "waveledger tuf publish {place} brings it to where the ledger is",
    "root": "waveledger keys tuf renew-root --keys root.keys.tgz; the CI root: waveledger tuf refresh {place}",
    "document": "waveledger targets resign TAG|WAVE -k KEYS gives a later expiry; see waveledger status",
    "timestamp": "waveledger tuf refresh {place} renews what expired",
}

_OLD = {"root", "document", "timestamp"}


def verify(ctx: typer.Context, place: str, now: datetime | None, format: Format | None, *, no_ledger: bool) -> None:
    """Look at a tree or a bundle, and show it. Raises: NothingPublished, ProblemsFound."""
    from cli.errors import ProblemsFound
    from projections.tuf import bundle
    from projections.tuf.checkup import Report

    shown = place
    is_bundle = _is_bundle(place)
    if is_bundle:
        report = Report(*bundle.check(bundle.reader(Path(place)), _ledger(ctx, no_ledger=no_ledger), now))
    else:
        target = destination(place)
        shown = target.place
        report = _look_at_tree(ctx, target, now, no_ledger=no_ledger)
    _show(report, format, is_bundle=is_bundle)
    if report.findings:
        raise ProblemsFound(
            count=len(report.findings),
            what=shown,
            advice=advice(report.findings, shown, is_bundle=is_bundle, alone=no_ledger),
        )


def _is_bundle(place: str) -> bool:
    from projections.tuf import bundle

    try:
        return "://" not in place and (Path(place) / bundle.NAME).is_file()
    except OSError:
        return False  # nothing at all can be read there: whoever looks for a tree says so


def _look_at_tree(ctx: typer.Context, target: Destination, now: datetime | None, *, no_ledger: bool) -> Report:
    from cli.errors import NothingPublished
    from cli.progress import bar
    from projections.tuf import checkup, inspection
    from projections.tuf.verify import Finding

    if not target.names("") and not Path(target.place).is_dir():
        raise NothingPublished(where=target.place)
    paths = inspection.paths_of(target)
    if not paths:
        return checkup.Report([], [Finding("", "NoViews", f"{target.place} holds no published view")])
    with bar("verifying") as progress:
        return checkup.check_tree(target.read, paths, _ledger(ctx, no_ledger=no_ledger), now=now, progress=progress)


def _ledger(ctx: typer.Context, *, no_ledger: bool) -> Engine | None:
    """The ledger, where one is at hand: the one that was named, or the default one if it is there."""
    from ledger.store import engine, migrate
    from projections.tables import shared_tables

    settings = settings_of(ctx)
    missing = settings.store == DEFAULT_STORE and not Path(DEFAULT_STORE.removeprefix("sqlite:///")).exists()
    if no_ledger or missing:
        why = "as told" if no_ledger else f"there is none at {DEFAULT_STORE}"
        say(f"without the ledger ({why}): clients start from nothing, and not from what devices saw before")
        return None
    opened = open_store(ctx)
    with engine.reading(opened) as connection:
        migrate.check(connection, shared_tables())
    return opened


def _show(report: Report, format: Format | None, *, is_bundle: bool) -> None:
    document = {
        "ok": not report.findings,
        "bundle": is_bundle,
        "views": [
            {
                "view": found.view,
                "root_version": found.root_version,
                "version": found.version,
                "targets_version": found.targets_version,
                "targets": list(found.targets),
                "starts": found.starts,
            }
            for found in report.checked
        ],
        "findings": [
            {
                "view": found.view,
                "kind": found.kind,
                "message": found.message,
                "from": found.start._asdict() if found.start else None,
            }
            for found in report.findings
        ],
    }
    tables = [
        Table(
            ["view", "root", "timestamp", "targets version", "targets", "starts"],
            [(c.view, c.root_version, c.version, c.targets_version, len(c.targets), c.starts) for c in report.checked],
        )
    ]
    if report.findings:
        rows = [(found.view, found.kind, found.message, found.start) for found in report.findings]
        tables.append(Table(["view", "kind", "message", "from"], rows, "Findings"))
    show(Output(document, tables), format)


def advice(findings: list[Finding], place: str, *, is_bundle: bool, alone: bool = False) -> str:
    """What helps with the worst of the findings: what was changed by somebody before what only grew old.

    Whoever looks at a tree `alone` may not be the one to renew it, and it may be of the past.
    """
    causes = {_cause(found) for found in findings}
    if is_bundle:
        return "a bundle can't be mended or renewed; make a new one: waveledger tuf export WAVE|TAG DIR"
    worst = next(cause for cause in _ADVICE if cause in causes)
    if alone and worst in _OLD:
        return "who owns its ledger renews it; a tree of the past is looked at with the clock of then: --now TIME"
    return _ADVICE[worst].format(place=place)


def _cause(found: Finding) -> str:
    if found.kind == "ExpiredMetadataError":
        return next((role for role in ("root", "timestamp") if role in found.message), "document")
    return _CAUSES.get(found.kind, "changed")
