"""The page of what expires when."""

from __future__ import annotations

from cli.reports import words
from cli.reports.page import Bar, Cell, Column, Fact, Lane, LaneChart, Page, Said, Section
from cli.reports.pages.parts import MOST_LANES, listed
from projections.reports.expiry import Expiring, ExpiryReport, Soonest

_WITH = {"root": "offline root key", "targets": "offline targets keys", "online": "online keys"}
_STATES = {"expired": "expired", "renew": "renew now", "fresh": "fresh"}


def page(report: ExpiryReport) -> Page:
    """The page."""
    expired = sum(one.state == "expired" for one in report.expiring)
    renew = sum(one.state == "renew" for one in report.expiring)
    soonest = report.soonest
    columns = [
        Column("what", "What"),
        Column("kind", "Kind"),
        Column("since", ""),
        Column("expires", "Expires"),
        Column("left_seconds", "Left", numeric=True),
        Column("state", "State"),
        Column("devices", "Devices hit", numeric=True),
        Column("groups", "Of groups"),
        Column("renewed_with", "Renewed with"),
        Column("renewal", "Command"),
    ]
    rows = [
        (one.what, one.kind, one.since, one.expires, one.left, _state(one), one.devices, _groups(one), *_renewal(one))
        for one in report.expiring
    ]
    until = f" up to {words.moment(report.until)} UTC" if report.until is not None else ""
    return Page(
        "expiry",
        f"What expires in {report.basis.factory}",
        f"{words.counted(len(report.expiring), 'document')}{until}, seen from {words.moment(report.basis.at)} UTC. "
        "Once one has expired, the devices that see it refuse every update until it is renewed.",
        report.basis,
        None,
        [
            Fact("Expired", expired, _refusing(report.refusing) if expired else ""),
            Fact("To renew", renew, "past half of their life"),
            Fact("Fresh", len(report.expiring) - expired - renew),
            Fact("Next to expire in", soonest.left if soonest else None, _next(soonest) if soonest else "nothing"),
            Fact("Devices it would hit", soonest.devices if soonest else 0),
        ],
        [Section("expiring", "By date", columns, rows, _chart(report)), _keys(report)],
    )


def _refusing(devices: int) -> str:
    return f"{words.counted(devices, 'device')} refuse{'s' if devices == 1 else ''} updates"


def _next(soonest: Soonest) -> str:
    more = len(soonest.what) - 1
    return soonest.what[0] + (f", and {more} more in the same second" if more else "")


def _renewal(one: Expiring) -> tuple[Cell, Cell]:
    return Said(one.renewed_with, _WITH[one.renewed_with]), one.renewal


def _state(one: Expiring) -> Said:
    return Said(one.state, _STATES[one.state])


def _groups(one: Expiring) -> Said:
    told = ", ".join(f"{hit.group or '(no group)'} {hit.devices:,}" for hit in one.groups)
    return Said(one.groups, told or None)


def _chart(report: ExpiryReport) -> LaneChart | None:
    shown = report.expiring[:MOST_LANES]
    if not shown:
        return None
    left = "" if len(shown) == len(report.expiring) else f" Only the first {len(shown)} are drawn."
    return LaneChart(
        "What is left of each life",
        f"A bar from signing to expiry; the line is now.{left}",
        min(one.since for one in shown),
        max(report.basis.at, *(one.expires for one in shown)),
        report.basis.at,
        [
            Lane(one.what.removeprefix("the "), [Bar(one.since, one.expires, _STATES[one.state], one.state)])
            for one in shown
        ],
    )


def _keys(report: ExpiryReport) -> Section:
    columns = [
        Column("repository", "Repository"),
        Column("keyid", "Key"),
        Column("roles", "Roles"),
        Column("online", "Where"),
        Column("expires", "Counts until"),
    ]
    rows = [
        (
            key.repository,
            key.keyid,
            listed(key.roles),
            Said(key.online, "online" if key.online else "offline"),
            key.expires,
        )
        for key in report.keys
    ]
    note = "A key has no expiry of its own: it counts until the root that lists it expires."
    return Section("keys", "Keys", columns, rows, note=note)
