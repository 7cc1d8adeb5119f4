"""What somebody else hung on the projections in PostgreSQL, and what would run in the session of whoever writes next.

Rules of this module:

* The projections belong to the application's role, so each of its members can change them: a trigger that one of them
  makes runs with the login of another, who would be recorded as the actor. Nothing of ours there runs code, so
  whatever does is not ours, and nobody writes while it is there.
* It is looked for at the beginning of each write, before its turn comes and anything of the projections is touched.
  That is no wall: who makes such a thing after that, while somebody waits or writes, is not seen before the next one.
* Names are looked up in the server's own catalog only: a function in another schema may have the same one.
"""

from __future__ import annotations

from sqlalchemy import Connection

from ledger.store.bulk import query
from ledger.store.errors import ForeignCode

SHOWN = 10

_DEFAULT = "pg_catalog.pg_get_expr(x.adbin, x.adrelid)"
_COUNTED = r"^nextval\(''[a-z_.]+''::regclass\)$"  # the numbers of a table of ours

_OF_A_TABLE = {
    "trigger": ("pg_trigger", "tgrelid", "x.tgname", "true"),
    "rule": ("pg_rewrite", "ev_class", "x.rulename", "true"),
    "default": ("pg_attrdef", "adrelid", "x.adnum::text", f"{_DEFAULT} !~ '{_COUNTED}'"),
    "policy": ("pg_policy", "polrelid", "x.polname", "true"),
    "heir": ("pg_inherits", "inhparent", "x.inhrelid::text", "true"),
    "statistics": ("pg_statistic_ext", "stxrelid", "x.stxname", "true"),
}
_OF_THE_SCHEMA = {
    "function": ("pg_proc", "pronamespace", "x.proname", "true"),
    "operator": ("pg_operator", "oprnamespace", "x.oprname", "true"),
    "constraint": ("pg_constraint", "connamespace", "x.conname", "x.contype NOT IN ('p', 'u', 'n')"),
    "relation": ("pg_class", "relnamespace", "x.relname", "x.relkind NOT IN ('r', 'i', 'S')"),
}
# A column of a type, an index with a function, that the server did not bring.
_NOT_THE_SERVERS = """
SELECT 'dependency', c.relname || ' on ' || pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
WHERE c.relnamespace = n.oid AND d.refclassid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_operator'::regclass,
    'pg_catalog.pg_type'::regclass, 'pg_catalog.pg_opclass'::regclass)"""

_FOUND = " UNION ALL ".join(
    [
        *(
            f"SELECT '{what}', c.relname || '.' || {name} FROM pg_catalog.{catalog} x"
            f" JOIN pg_catalog.pg_class c ON c.oid = x.{table} WHERE c.relnamespace = n.oid AND {condition}"
            for what, (catalog, table, name, condition) in _OF_A_TABLE.items()
        ),
        *(
            f"SELECT '{what}', {name}::text FROM pg_catalog.{catalog} x WHERE x.{schema} = n.oid AND {condition}"
            for what, (catalog, schema, name, condition) in _OF_THE_SCHEMA.items()
        ),
        _NOT_THE_SERVERS,
    ]
)
_LOOK = f"""SELECT f.what, f.name FROM pg_catalog.pg_namespace n, LATERAL ({_FOUND}) AS f(what, name)
    WHERE n.nspname = ? LIMIT ?"""


def refuse(connection: Connection, schema: str) -> None:
    """Raises ForeignCode where the schema holds anything that runs code."""
    found = look(connection, schema, SHOWN)
    if found:
        raise ForeignCode(schema=schema, found=", ".join(found))


def look(connection: Connection, schema: str, most: int = 1000) -> list[str]:
    """What the schema holds that runs code: of what kind, and its name."""
    return [f"{what} {name}" for what, name in query(connection, _LOOK, (schema, most)).fetchall()]
