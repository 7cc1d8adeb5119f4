"""Who may act: owners and admins, and the rules that keep the factory from locking itself out.

Rules of this module (DESIGN §2, "who"):

* wave commands and key changes are for owners and admins; only owners manage members; the last owner stays.
* The actor is a claim. These rules keep honest people from accidents; signatures keep everybody honest.
"""

from __future__ import annotations

from collections.abc import Mapping

from ledger.domain.errors import NotFound, Refused
from ledger.domain.events import MemberAdded, MemberRemoved
from ledger.domain.values import check_actor

OWNER, ADMIN = "owner", "admin"
ROLES = (OWNER, ADMIN)


class NotMember(Refused):
    """The actor is no member of the factory."""

    message = "{actor} is not a member of this factory"
    hint = (
        "an owner can add you: waveledger members add {actor} --role admin; or act as a member with --actor NAME (on "
        "PostgreSQL log in as one)"
    )
    actor: str


class NotOwner(Refused):
    """Managing members takes an owner."""

    message = "{actor} is an admin, and only owners manage members"
    hint = "ask an owner; waveledger members list shows who they are"
    actor: str


class AlreadyMember(Refused):
    """The member is there, with that role."""

    message = "{member} is already {role}"
    hint = "waveledger members list shows who is what"
    member: str
    role: str


class UnknownMember(NotFound):
    """Nobody of that name is a member."""

    message = "{member} is not a member of this factory"
    hint = "waveledger members list shows who is"
    member: str


class LastOwner(Refused):
    """Without an owner nobody could ever manage members again."""

    message = "{member} is the last owner, and a factory keeps at least one"
    hint = "make somebody else an owner first: waveledger members add NAME --role owner"
    member: str


class UnknownRole(Refused):
    """A role that does not exist."""

    message = "{role!r} is not a role"
    hint = "roles are owner and admin"
    role: str


def require_member(members: Mapping[str, str], actor: str) -> None:
    """Pass owners and admins. `members` maps names to roles. Raises: NotMember."""
    if actor not in members:
        raise NotMember(actor=actor)


def require_owner(members: Mapping[str, str], actor: str) -> None:
    """Pass owners. Raises: NotMember, NotOwner."""
    require_member(members, actor)
    if members[actor] != OWNER:
        raise NotOwner(actor=actor)


def add(members: Mapping[str, str], actor: str, member: str, role: str) -> MemberAdded:
    """Add a member, or give one another role. Raises: NotMember, NotOwner, UnknownRole, AlreadyMember, LastOwner."""
    require_owner(members, actor)
    if role not in ROLES:
        raise UnknownRole(role=role)
    check_actor(member)
    if members.get(member) == role:
        raise AlreadyMember(member=member, role=role)
    if members.get(member) == OWNER:
        _require_another_owner(members, member)
    return MemberAdded(member, role)


def remove(members: Mapping[str, str], actor: str, member: str) -> MemberRemoved:
    """Remove a member. Raises: NotMember, NotOwner, UnknownMember, LastOwner."""
    require_owner(members, actor)
    if member not in members:
        raise UnknownMember(member=member)
    if members[member] == OWNER:
        _require_another_owner(members, member)
    return MemberRemoved(member)


def evolve(members: Mapping[str, str], event: MemberAdded | MemberRemoved) -> dict[str, str]:
    """The members after the event."""
    match event:
        case MemberAdded(member, role):
            return {**members, member: role}
        case MemberRemoved(member):
            return {name: role for name, role in members.items() if name != member}


def _require_another_owner(members: Mapping[str, str], member: str) -> None:
    if not any(role == OWNER for name, role in members.items() if name != member):
        raise LastOwner(member=member)
