"""Every error of the program: it can be told, names its fields, and has a documented exit code (STYLE §5)."""

from __future__ import annotations

import importlib
import pkgutil
import string
from typing import ClassVar, get_origin, get_type_hints

import pytest

import cli
import ledger
import projections
from ledger.domain import errors
from ledger.domain.errors import EXIT_CODES, LedgerError

FAMILIES = {
    item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, LedgerError)
}  # the root and who has to act; every other class is one cause


def _all():
    for package in (ledger, projections, cli):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    found, todo = set(), [LedgerError]
    while todo:
        cls = todo.pop()
        found.add(cls)
        todo += cls.__subclasses__()
    return sorted(
        (cls for cls in found - FAMILIES if cls.__module__.split(".")[0] in ("ledger", "projections", "cli")),
        key=lambda cls: (cls.__module__, cls.__name__),
    )


ERRORS = _all()
each_error = pytest.mark.parametrize("error", ERRORS, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")


def fields_of(error):
    """The declared fields of a class, those of its bases included."""
    hints = get_type_hints(error)
    return {name: kind for name, kind in hints.items() if get_origin(kind) is not ClassVar and kind is not ClassVar}


def used_in(template):
    """The fields that a template uses."""
    return {
        name.partition(".")[0].partition("[")[0]
        for _, name, _, _ in string.Formatter().parse(template)
        if name is not None
    }


def dummy(error):
    """One of that class, with a value of the right type in each field."""
    return error(**{name: 7 if kind is int else "VALUE" for name, kind in fields_of(error).items()})


@each_error
def test_an_error_says_what_it_means(error):
    """A docstring and a message of its own."""
    assert (error.__doc__ or "").strip()
    assert error.message != LedgerError.message
    assert error.message.strip() == error.message
    assert "\n" not in error.message + error.hint


@each_error
def test_an_error_uses_its_own_fields_only(error):
    """Message and hint are templates over what the class declares, and what is declared is told."""
    fields = fields_of(error)

    assert used_in(error.message) <= set(fields)
    assert used_in(error.hint) <= set(fields)


@each_error
def test_an_error_can_be_told(error):
    """Message and hint render, without a brace left over but those that were meant."""
    told = dummy(error)

    assert str(told)
    for template, text in ((error.message, str(told)), (error.hint, told.render_hint())):
        assert text.count("{") == template.count("{{")
        assert text.count("}") == template.count("}}")
    for name in fields_of(error):
        assert hasattr(told, name)


@each_error
def test_an_error_has_a_documented_exit_code(error):
    """One of CLI.md's, never 0 and never the one for bugs."""
    assert error.exit_code in EXIT_CODES
    assert error.exit_code not in (0, 1, 130)


@each_error
def test_an_error_is_of_one_family(error):
    """Who has to act is said by the class, and the exit code is the family's; usage errors are the root's own."""
    families = [family for family in FAMILIES - {LedgerError} if issubclass(error, family)]

    if families:
        assert {family.exit_code for family in families} == {error.exit_code}


def test_no_two_errors_have_the_same_message():
    """One class per cause: a user who reads the text knows which one it was."""
    seen = {}
    for error in ERRORS:
        seen.setdefault(error.message, []).append(error.__qualname__)

    assert {m: names for m, names in seen.items() if len(names) > 1 and not _wraps_a_problem(m)} == {}


def _wraps_a_problem(message):
    # "{file}, line {line}: {problem}" and the like tell the cause in the field.
    return not "".join(text for text, *_ in string.Formatter().parse(message)).replace("line", "").strip(" :,.'")


def test_no_two_errors_have_the_same_name():
    """A name in a log leads to one class."""
    names = [error.__name__ for error in ERRORS]

    assert sorted(names) == sorted(set(names))


def test_exit_codes_are_the_documented_ones():
    """CLI.md, "exit codes"."""
    assert sorted(EXIT_CODES) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 130]
    assert {family.__name__: family.exit_code for family in FAMILIES} == {
        "LedgerError": 1,
        "Refused": 3,
        "BadInput": 3,
        "NotFound": 4,
        "Conflict": 5,
        "CheckFailed": 6,
        "StorageFailure": 7,
        "TufFailure": 8,
    }


def test_fields_are_kept():
    """Whoever catches an error finds what it is about."""
    from ledger.domain.wave import WaveNotReady

    error = WaveNotReady(wave="v48", have=1, need=2)

    assert (error.wave, error.have, error.need) == ("v48", 1, 2)
    assert str(error) == "wave v48 is not ready: it has 1 of 2 offline signatures"
    assert error.render_hint() == "another holder of a targets key signs it: waveledger waves sign v48 -k KEYS"


def test_values_with_braces_are_not_templates():
    """What a user typed is shown, not interpreted."""
    from ledger.domain.values import BadTime

    assert str(BadTime(text="{0.__class__}")) == "'{0.__class__}' is not an RFC 3339 time"
