"""Who may act (DESIGN §2, "who")."""

from __future__ import annotations

import pytest

from ledger.domain import members
from ledger.domain.events import MemberAdded, MemberRemoved
from ledger.domain.members import AlreadyMember, LastOwner, NotMember, NotOwner, UnknownMember, UnknownRole
from ledger.domain.values import BadActor

ALICE = MemberAdded("alice", "owner")
BOB = MemberAdded("bob", "admin")
CAROL = MemberAdded("carol", "owner")


@pytest.fixture
def given(scenario):
    return scenario(members.evolve, {})


@pytest.mark.parametrize("actor", ["alice", "bob"])
def test_owners_and_admins_may_act(given, actor):
    """init, sign, rollout, complete and cancel are for both."""
    given(ALICE, BOB).when(members.require_member, actor).then(None)


@pytest.mark.parametrize("actor", ["mallory", "", "Alice", "bob "])
def test_a_non_member_may_not(given, actor):
    """Names are compared exactly."""
    given(ALICE, BOB).when(members.require_member, actor).refused(NotMember, actor=actor)


def test_an_owner_adds_a_member(given):
    """With the role that was asked for."""
    given(ALICE).when(members.add, "alice", "bob", "admin").then(BOB)


def test_an_admin_manages_no_members(given):
    """Neither adding nor removing, not even oneself."""
    given(ALICE, BOB).when(members.add, "bob", "carol", "admin").refused(NotOwner, actor="bob")
    given(ALICE, BOB).when(members.remove, "bob", "bob").refused(NotOwner, actor="bob")


def test_a_non_member_manages_no_members(given):
    """A removed owner is one, too."""
    history = (ALICE, CAROL, MemberRemoved("carol"))

    given(*history).when(members.add, "carol", "carol", "owner").refused(NotMember, actor="carol")
    given(*history).when(members.remove, "carol", "alice").refused(NotMember, actor="carol")


def test_the_last_owner_stays(given):
    """Admins don't count."""
    given(ALICE, BOB).when(members.remove, "alice", "alice").refused(LastOwner, member="alice")


def test_the_last_owner_does_not_become_an_admin(given):
    """That would lock the factory just as well."""
    given(ALICE, BOB).when(members.add, "alice", "alice", "admin").refused(LastOwner, member="alice")


def test_an_owner_leaves_when_there_is_another(given):
    """By removal or by a lower role, also by the other's hand."""
    given(ALICE, CAROL).when(members.remove, "carol", "alice").then(MemberRemoved("alice"))
    given(ALICE, CAROL).when(members.add, "alice", "alice", "admin").then(MemberAdded("alice", "admin"))


def test_a_member_gets_another_role(given):
    """Adding a member again with another role changes the role."""
    given(ALICE, BOB).when(members.add, "alice", "bob", "owner").then(MemberAdded("bob", "owner"))


@pytest.mark.parametrize(("member", "role"), [("bob", "admin"), ("alice", "owner")])
def test_a_member_with_that_role_is_already_there(given, member, role):
    """Nothing would change, so no event is made."""
    given(ALICE, BOB).when(members.add, "alice", member, role).refused(AlreadyMember, member=member, role=role)


@pytest.mark.parametrize("role", ["", "Owner", "viewer", "owner "])
def test_a_role_that_does_not_exist(given, role):
    """Roles are owner and admin."""
    given(ALICE).when(members.add, "alice", "bob", role).refused(UnknownRole, role=role)


def test_a_member_that_does_not_exist(given):
    """Exit code 4: not found."""
    given(ALICE).when(members.remove, "alice", "bob").refused(UnknownMember, 4, member="bob")


@pytest.mark.parametrize("name", ["", "b ob", "böb", "x" * 101, "bob\n", "\x1b[31m", "bob\x7f"])
def test_a_member_has_a_printable_name(given, name):
    """The actor stands in every event, and is compared exactly."""
    given(ALICE).when(members.add, "alice", name, "admin").refused(BadActor)


def test_evolve_forgets_who_was_removed(given):
    """And keeps the newest role of everybody else."""
    assert given(ALICE, BOB, CAROL, MemberRemoved("alice"), MemberAdded("bob", "owner")).state == {
        "bob": "owner",
        "carol": "owner",
    }


@pytest.mark.parametrize("name", ["b", "CORP\\alice", "ci@example.com", "-bob", "x" * 100])
def test_a_member_may_be_a_person_a_role_or_a_program(given, name):
    """Printable ASCII without spaces, at most 100 characters."""
    given(ALICE).when(members.add, "alice", name, "admin").then(MemberAdded(name, "admin"))
