"""waveledger targets resign: live documents at their next revision."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import destination, open_ledger
from cli.errors import NothingPublishedThere, UsageError
from cli.expiry import ExpiresAt, ExpiresDays, expiry
from cli.options import DryRun
from cli.output import Format, FormatOption, Output, say, show
from cli.rootchanges import finish, resigned_document, resigned_lines, say_waiting

if TYPE_CHECKING:
    from ledger.application.resign import Versions
    from ledger.application.rootsahead import RootsAhead
    from ledger.session import Ledger

COMMAND = "waveledger targets resign"


def resign(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="TAG|WAVE", help="A tag (with its active wave), or one wave.")],
    keys: Annotated[
        list[str] | None,
        typer.Option(
            "--keys", "-k", metavar="FILE|URI", help="Offline targets key; once for each holder that is needed."
        ),
    ] = None,
    expires_days: ExpiresDays = None,
    expires_at: ExpiresAt = None,
    above: Annotated[
        str | None,
        typer.Option(metavar="DIR|URL", help="Go on above the versions there: after a loss of the newest ledger."),
    ] = None,
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Sign live production targets anew, with a later expiry.

    All documents of a tag (production, held views, the active wave) or those of one wave get their next revision; their
    targets stay as they are. They live for another year, or as long as is said; not said, none gets an earlier expiry.
    A wave that still waits for signatures is signed when it is named. With --above, for a whole tag (or ci/TAG, which
    needs no key), versions go on above those at a destination that is ahead of this ledger, and roots that are newer
    there than here are taken in.

    Example: waveledger targets resign release -k keys/targets.only.key.tgz --expires-days 365
    """
    from cli.signing import open_signers
    from ledger.application import resign as use_case
    from ledger.tuf.keys import find_offline_signer
    from projections.facts import Facts

    if name.startswith("ci/"):
        _raise_ci(ctx, name.removeprefix("ci/"), above, keys, format, dry_run=dry_run)
        return
    if not keys:
        raise UsageError(problem="--keys is missing: production targets are signed offline", command=COMMAND)
    expires: datetime | None = expiry(ctx, expires_days, expires_at, COMMAND)
    opened = [(source, open_signers(ctx, source)) for source in keys]
    ledger = open_ledger(ctx)
    raised = ahead = None
    if above is not None:
        with ledger.reading() as connection:
            repository = f"production/{use_case.whole_tag(connection, Facts(), name)}"
        raised, ahead = _look(ctx, above, repository, ledger)
    said = expires_days is not None or expires_at is not None
    resigned = use_case.resign(
        ledger,
        Facts(),
        use_case.ResignRequest(name, expires, raised, at_least=not said, ahead=ahead),
        lambda root, online: [find_offline_signer(found, root, "targets", s, exclude=online) for s, found in opened],
        dry_run=dry_run,
    )
    tag = resigned[0].anew.before.tag
    document = {
        "repository": f"production/{tag}",
        "resigned": resigned_document(resigned),
        "above": raised._asdict() if raised else None,
        "roots": ahead.versions if ahead else [],
        "dry_run": dry_run,
    }
    show(Output(document, lines=[*resigned_lines(resigned, dry_run=dry_run), *_raised_lines(document)]), format)
    say_waiting(resigned)
    _say_left_alone(ledger, tag, {one.anew.before.owner for one in resigned}, name)
    finish(ctx, ledger, resigned, _topics(ahead) if raised else [], dry_run=dry_run)


def _raised_lines(document: dict[str, Any]) -> list[str]:
    above = document["above"]
    if above is None:
        return []
    repository, roots = document["repository"], document["roots"]
    line = f"goes on above metadata version {above['metadata']} and targets version {above['targets']}"
    kind, taken = repository.partition("/")[0], ", ".join(map(str, roots))
    return [f"{repository} {line}", *([f"took in the {kind} root of version {taken}"] if roots else [])]


def _topics(ahead: RootsAhead | None) -> list[str]:
    return [*(event.topic for event in (ahead.events if ahead else ())), "versions.raised/1"]


def _say_left_alone(ledger: Ledger, tag: str, owners: set[str], name: str) -> None:
    """Name the wave that waits for its holders, where all of its tag was signed anew."""
    from projections.facts import Facts

    with ledger.reading() as connection:
        active = Facts().tag(connection, tag).active
    if active and f"tag:{tag}" in owners and f"wave:{active.wave}" not in owners and name in (tag, f"tag:{tag}"):
        say(f"wave {active.wave} still waits for signatures, and is left as it is; name it to sign it anew, too")


def _raise_ci(
    ctx: typer.Context, tag: str, above: str | None, keys: list[str] | None, format: Format | None, *, dry_run: bool
) -> None:
    from ledger.application import resign as use_case
    from ledger.domain.values import check_name
    from projections.facts import Facts

    if keys or above is None:
        problem = "CI targets are signed online, without --keys" if keys else f"ci/{tag} needs --above DIR|URL"
        raise UsageError(problem=problem, command=COMMAND)
    check_name("tag", tag)
    ledger = open_ledger(ctx)
    versions, ahead = _look(ctx, above, f"ci/{tag}", ledger)
    use_case.raise_ci_versions(ledger, Facts(), tag, versions, ahead, dry_run=dry_run)
    document = {
        "repository": f"ci/{tag}",
        "resigned": [],
        "above": versions._asdict(),
        "roots": ahead.versions if ahead else [],
        "dry_run": dry_run,
    }
    show(Output(document, lines=_raised_lines(document)), format)
    finish(ctx, ledger, [], _topics(ahead), dry_run=dry_run)


def _look(ctx: typer.Context, where: str, repository: str, ledger: Ledger) -> tuple[Versions, RootsAhead | None]:
    """The highest versions at a destination, and the roots there that this ledger does not know.

    Raises: NothingPublishedThere, and what `rootsahead.take_in` raises.
    """
    from cli.signing import open_online
    from ledger.application import rootsahead
    from ledger.application.resign import Versions
    from ledger.tuf import roots
    from projections.facts import Facts
    from projections.tuf.ahead import highest_versions, roots_from

    place, kind = destination(where), repository.partition("/")[0]
    found = highest_versions(place, repository)
    if found.metadata == 0:
        raise NothingPublishedThere(where=place.place, repository=repository)
    versions = Versions(found.metadata, found.targets)
    with ledger.reading() as connection:
        known = Facts().trusted(connection, kind).version
    if found.root < known:
        return versions, None
    files = roots_from(place, repository, known, found.root)
    keys = None
    if found.root > known:
        keys = open_online(ctx, roots.load_root(files[found.root]).signed.keys.values())
    with ledger.reading() as connection:
        return versions, rootsahead.take_in(connection, Facts(), kind, files, keys, place.place)
