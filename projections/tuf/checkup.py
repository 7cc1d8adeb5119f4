"""All that `tuf verify` looks at: clients on every view, from all that they may come from, and the files themselves.

Rules of this module:

* The tree is listed before the ledger is read, so whatever is in it the ledger should know.
* The ledger is never held while clients refresh: it is read a repository at a time.
* A client that fails from nothing is not tried from elsewhere: it would only fail again.
* The roots of a long chain are walked as often as needed, and not more (see `verify.starts`).
* Expired metadata in a device's past is no finding. A device may come from anywhere, and long ago.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Engine
from tuf.api.exceptions import DownloadError, ExpiredMetadataError, RepositoryError

from ledger.store import engine as store
from projections.tuf import inspection, known, state
from projections.tuf.verify import NEAR, Checked, Finding, Read, Start, finding, refresh, root_chain, starts

Progress = Callable[[int, int], None]


class Report(NamedTuple):
    """What clients found, view by view, and what is wrong."""

    checked: list[Checked]
    findings: list[Finding]


def check_tree(
    read: Read,
    paths: list[str],
    ledger: Engine | None,
    *,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> Report:
    """Look at a whole published tree.

    Args:
        read: Reads a file of it.
        paths: All its files.
        ledger: The ledger that published it; without, clients start from nothing, and files are compared among
            themselves only.
        now: The clients' clock; the real one if not said.
        progress: Told how many views are done, of how many.
    """
    tree = inspection.look(read, paths)
    views = sorted(view for view in tree.views if not view.startswith("pool/"))
    findings: list[Finding] = []
    repositories = _known(read, views, ledger) if ledger else []
    if ledger:
        findings += [found for of in repositories for found in inspection.compare(tree, read, of)]
        findings += _unknown_views(views, repositories)
    else:
        findings += inspection.check(tree, read)
    owners = {view: of for of in repositories for view in of.shown}
    closed = _closed(tree, views)
    checkup = _Checkup(read, now, set())
    checked = []
    for place, view in enumerate(views):
        of = owners.get(view)
        found, problems = checkup.view(
            view, of.pasts[view] if of else [], may_expire=view not in of.live if of else view in closed
        )
        checked += [found] if found else []
        findings += problems
        if progress:
            progress(place + 1, len(views))
    return Report(checked, findings)


class _Checkup:
    """Clients on one tree. Roots are the same in all views of a kind, so each chain is walked from each start once."""

    def __init__(self, read: Read, now: datetime | None, walked: set[tuple[bytes, ...]]) -> None:
        self.read, self.now, self.walked = read, now, walked

    def view(self, view: str, pasts: list[known.Past], *, may_expire: bool) -> tuple[Checked | None, list[Finding]]:
        """One view, from nothing and from every past."""
        chain = root_chain(self.read, view)
        if not chain:
            return None, [Finding(view, "MissingFile", f"{view} has no root: no client can begin")]
        newest = max(chain)
        roots = [known.Past(Start(version), root, {}) for version, root in self._roots(chain).items()]
        came: Checked | None = None
        findings: list[Finding] = []
        for past in [*roots, *(_nearer(past, chain) for past in pasts)]:
            if past.start.view and came is None:
                break
            try:
                found = refresh(self.read, view, past.root, now=self.now, local=past.files, newest_root=newest)
                came = (came or found)._replace(starts=came.starts + 1 if came else 1)
            except ExpiredMetadataError as problem:
                # From wherever it starts.
                return came, findings if may_expire else [*findings, finding(view, problem, past.start)]
            except (RepositoryError, DownloadError) as problem:
                findings.append(finding(view, problem, past.start))
        return came, findings

    def _roots(self, chain: Mapping[int, bytes]) -> Mapping[int, bytes]:
        """The roots to start from: the first, and others where this chain was not walked yet."""
        content = tuple(chain.values())
        if content in self.walked:
            return {min(chain): chain[min(chain)]}
        self.walked.add(content)
        return {version: chain[version] for version in starts(chain)}


def _nearer(past: known.Past, chain: Mapping[int, bytes]) -> known.Past:
    """The same past with a root that is near the newest: all are walked before a device's own files count."""
    near = max(chain) - NEAR
    return past._replace(root=chain[near]) if near in chain and past.start.root_version < near else past


def _known(read: Read, views: list[str], ledger: Engine) -> list[known.Known]:
    with store.reading(ledger) as connection:
        names = state.repositories(connection)
    reached = {view: inspection.versions_of(read, view) for view in views}
    found = []
    for name in names:
        with store.reading(ledger) as connection:
            own = set(state.published(connection, name)) & reached.keys()
            found.append(known.read(connection, name, max((reached[view] for view in own), default=0)))
    return found


def _unknown_views(views: list[str], repositories: list[known.Known]) -> list[Finding]:
    expected = {view for of in repositories for view in (*of.shown, *of.removed)}
    return [
        Finding(view, "UnknownView", "the ledger never published this view") for view in views if view not in expected
    ]


def _closed(tree: inspection.Tree, views: list[str]) -> set[str]:
    """Views that wait for their removal: they show production's newest snapshot, or their wave has a held view."""
    newest: dict[str, str] = {}
    production: set[str] = set()
    for view in views:
        snapshots = [file for file in tree.views[view] if file.role == "snapshot"]
        if view.startswith("production/"):
            production |= {tree.digests[file.path] for file in snapshots}
        elif snapshots:
            newest[view] = tree.digests[max(snapshots, key=lambda file: file.version).path]
    canceled = {view.replace("held/", "wave/", 1) for view in views if view.startswith("held/")}
    return canceled | {view for view, digest in newest.items() if digest in production}
