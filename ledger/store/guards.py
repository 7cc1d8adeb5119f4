"""What protects the history in the database: whether all of it is still there, as this version makes it.

Rules of this module:

* Only what `ledger.store.triggers` and `ledger.store.migrate` make is asked for, and compared with what they would make
  now: triggers, functions, owners and rights. What else runs code there is somebody's who is not us.
* It says how things are at this moment, and nothing of the past: who could take a guard away may have put it back.
* Everybody who may read can ask. Names are looked up in the server's own catalog.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection

from ledger.store import foreign, triggers
from ledger.store.bulk import is_postgresql, query
from ledger.store.postgresql import LEDGER, PROJECTIONS, owner_of

MISSING = "it is missing"
CHANGED = "it was changed: it is not what waveledger makes"
FOREIGN = "waveledger did not make it, and it runs as whoever writes"

# Compiled when they are used: every command imports this module, and hardly any asks.
_FUNCTION = r"(?s)FUNCTION waveledger\.(\w+)\(\) RETURNS trigger (.*?) AS \$\$(.*)\$\$"
_TRIGGER = r"(?s)TRIGGER (\w+) (BEFORE|AFTER) ([A-Z ]+) ON (\w+)\s.*?EACH (ROW|STATEMENT) .*waveledger\.(\w+)"
_TYPES = {
    "ROW": 1,
    "BEFORE": 2,
    "INSERT": 4,
    "DELETE": 8,
    "UPDATE": 16,
    "TRUNCATE": 32,
}  # the bits of pg_trigger.tgtype

_TRIGGERS = f"""SELECT c.relname || '.' || t.tgname, p.proname, t.tgtype, t.tgqual IS NULL, t.tgenabled
    FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
    JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
    WHERE c.relnamespace = '{LEDGER}'::regnamespace AND p.pronamespace = c.relnamespace ORDER BY 1"""
_FUNCTIONS = f"""SELECT p.proname, p.prosrc, p.prosecdef, pg_catalog.array_to_string(p.proconfig, ';'),
        pg_catalog.pg_get_userbyid(p.proowner), p.proowner <> n.nspowner,
        p.proacl IS NULL OR EXISTS (SELECT FROM pg_catalog.aclexplode(p.proacl) a WHERE a.grantee <> p.proowner)
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = '{LEDGER}' ORDER BY 1"""
_OWNERS = f"""SELECT c.relname, pg_catalog.pg_get_userbyid(c.relowner)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('{LEDGER}', '{PROJECTIONS}') AND c.relkind = 'r' AND c.relowner <> n.nspowner ORDER BY 1"""
_RIGHTS = f"""SELECT c.relname, a.privilege_type,
        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee) END
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        JOIN (SELECT oid AS of, relacl AS acl FROM pg_catalog.pg_class UNION ALL
            SELECT attrelid, attacl FROM pg_catalog.pg_attribute WHERE NOT attisdropped) granted ON granted.of = c.oid,
        pg_catalog.aclexplode(granted.acl) a
    WHERE n.nspname = '{LEDGER}' AND a.grantee <> c.relowner AND a.privilege_type <> 'SELECT'
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""  # of the table, or of columns of it


class Gap(NamedTuple):
    """Something that does not protect the history as it should, by its name in the database."""

    name: str
    problem: str


def gaps(connection: Connection) -> list[Gap]:
    """All that is missing, changed, or of others."""
    return list(_on_postgresql(connection) if is_postgresql(connection) else _on_sqlite(connection))


def changed_triggers(connection: Connection) -> list[str]:
    """The statements that make those of our triggers on SQLite that are missing or changed."""
    there = {name: _words(sql) for name, _, sql, _ in _made_on_sqlite(connection)}
    return [sql for sql in triggers.SQLITE if there.get(_name(sql)) != _words(sql)]


def _on_sqlite(connection: Connection) -> Iterator[Gap]:
    there = _made_on_sqlite(connection)
    names = {name for name, *_ in there}
    for sql in changed_triggers(connection):
        yield Gap(_name(sql), CHANGED if _name(sql) in names else MISSING)
    ours = {_name(sql) for sql in triggers.SQLITE}
    for name, kind, _, table in there:
        if kind != "trigger" or name not in ours:
            yield Gap(name, f"a {kind}{f' on {table}' if kind == 'trigger' else ''} that waveledger did not make")


def _made_on_sqlite(connection: Connection) -> list[tuple[str, str, str, str]]:
    statement = "SELECT name, type, sql, tbl_name FROM sqlite_master WHERE type IN ('trigger', 'view') ORDER BY name"
    return [
        (str(name), str(kind), str(sql), str(table))
        for name, kind, sql, table in query(connection, statement).fetchall()
    ]


def _name(sql: str) -> str:
    return sql.split()[2]


def _words(sql: str) -> str:
    return " ".join(sql.split())


def _on_postgresql(connection: Connection) -> Iterator[Gap]:
    yield from _look_at_triggers(connection)
    yield from _look_at_functions(connection)
    for name, owner in query(connection, _OWNERS).fetchall():
        yield Gap(str(name), f"it belongs to {owner}, and not to the owner of its schema")
    allowed = _rights_of(owner_of(connection, PROJECTIONS))
    for table, right, role in query(connection, _RIGHTS).fetchall():
        if (table, right, role) not in allowed:
            yield Gap(str(table), f"{role} may {right} it")
    ours = {"constraint head_is_one_row"} | {f"function {name}" for name in _functions()}
    ours |= {f"trigger {name}" for name in _triggers()}
    for schema in (LEDGER, PROJECTIONS):
        for found in sorted(foreign.look(connection, schema)):
            if schema == PROJECTIONS or found not in ours:
                yield Gap(found, FOREIGN)


def _look_at_triggers(connection: Connection) -> Iterator[Gap]:
    there = {name: (as_made, enabled) for name, *as_made, enabled in query(connection, _TRIGGERS).fetchall()}
    for name, expected in sorted(_triggers().items()):
        found: tuple[list[Any], Any] | None = there.get(name)
        if found is None:
            yield Gap(name, MISSING)
        elif found[0] != expected:
            yield Gap(name, CHANGED)
        elif found[1] not in {"O", "A"}:
            yield Gap(name, "it is disabled")


def _look_at_functions(connection: Connection) -> Iterator[Gap]:
    there = {name: rest for name, *rest in query(connection, _FUNCTIONS).fetchall()}
    for name, expected in sorted(_functions().items()):
        if name not in there:
            yield Gap(name, MISSING)
            continue
        *made, owner, of_another, open_ = there[name]
        if made != expected:
            yield Gap(name, CHANGED)
        if of_another:
            yield Gap(name, f"it belongs to {owner}, and not to the owner of its schema")
        elif open_:
            yield Gap(name, "others than its owner may execute it")


def _triggers() -> dict[str, list[Any]]:
    """Function, type and having no condition, of each of our triggers."""
    found = filter(None, (re.search(_TRIGGER, statement) for statement in triggers.POSTGRESQL))
    return {
        f"{m[4]}.{m[1]}": [m[6], sum(_TYPES.get(word, 0) for word in (m[2], m[5], *m[3].split())), True] for m in found
    }


def _functions() -> dict[str, list[Any]]:
    """Source, security and settings of each of our functions."""
    made = {}
    for match in filter(None, (re.search(_FUNCTION, statement) for statement in triggers.POSTGRESQL)):
        settings = re.findall(r"SET (\w+) = ((?:\w+, )*\w+)", match[2])
        told = ";".join(f"{name}={value}" for name, value in settings)
        made[match[1]] = [match[3], "SECURITY DEFINER" in match[2], told]
    return made


def _rights_of(application: str | None) -> set[tuple[str, str, str]]:
    granted = {("event", "INSERT"), ("checkpoint", "INSERT"), ("tracking", "INSERT"), ("tracking", "UPDATE")}
    return {(table, right, application) for table, right in granted} if application else set()
