"""What needs somebody's attention, in words: what expired or will, and how to renew it."""

from __future__ import annotations

from sqlalchemy import Connection

from cli.output import when
from projections.queries import expiry
from projections.queries.expiry import Expiry, LongChain


def warnings(connection: Connection, now: int) -> list[str]:
    """What is to be done in time: first what expired, then what will, soonest first, then chains that grow long."""
    aged = [found for found in expiry.expiries(connection) if found.is_aged(now) or found.is_expired(now)]
    return [*(_aged(found, now) for found in aged), *map(_long, expiry.long_chains(connection))]


def _aged(found: Expiry, now: int) -> str:
    several = found.what.startswith("the targets ")
    aged = "are past half of their life and expire at" if several else "is past half of its life and expires at"
    state = "expired at" if found.is_expired(now) else aged
    return f"{found.what} {state} {when(found.expires)}: {found.renewal().command}"


def _long(chain: LongChain) -> str:
    which = f"the {chain.repository} root is at version {chain.newest}"
    clients = f"clients that start from root {chain.first} can't follow"
    option = " --prod" if chain.repository == "production" else ""
    advice = f"ship devices with a newer root: waveledger keys tuf show-root{option} --format json"
    if chain.left < 0:
        return f"{which}: {clients} any more; {advice}"
    return f"{which}: {chain.left} more root versions until {clients}; {advice}"
