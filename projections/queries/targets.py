"""CI targets and production targets as they are listed."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, text


class CiTarget(NamedTuple):
    """A CI target; `body` is its TUF target."""

    name: str
    version: int
    hardware_id: str
    tags: list[str]
    body: dict[str, Any]


class Production(NamedTuple):
    """A tag's production targets; `expires` in seconds since 1970, None while there is no production document.

    `document` is the version of that document, `wave` the one that it was first signed with, `content` the one whose
    completion made these targets production: another one where a canceled wave brought the document.
    """

    tag: str
    version: int
    expires: int | None
    targets: dict[str, Any]
    wave: str | None
    document: int | None
    content: str | None


def ci(connection: Connection, *, tag: str | None = None, version: int | None = None) -> list[CiTarget]:
    """CI targets by number and name; with a tag those that have it, with a number those of that build."""
    where = {
        "t.number = :version": version,
        "EXISTS (SELECT 1 FROM release_ci_tag g WHERE g.name = t.name AND g.tag = :tag)": tag,
    }
    conditions = [condition for condition, given in where.items() if given is not None] or ["1 = 1"]
    rows = connection.execute(
        text(
            "SELECT t.name, t.number, t.hardware_id, t.body FROM release_ci_target t "
            f"WHERE {' AND '.join(conditions)} ORDER BY t.number, t.name"
        ),
        {"tag": tag, "version": version},
    )
    found = []
    for name, number, hardware_id, raw in rows:
        body = orjson.loads(raw)
        found.append(CiTarget(name, number, hardware_id, body["custom"].get("tags", []), body))
    return found


def production(connection: Connection, tag: str) -> Production:
    """A tag's production targets, as decided; `version` is the tag's highest production number."""
    row = connection.execute(
        text(
            "SELECT number, production_expires, production_wave, production_version, production_content "
            "FROM release_tag WHERE tag = :tag"
        ),
        {"tag": tag},
    ).first()
    number, expires, wave, document, content = row or (0, None, None, None, None)
    rows = connection.execute(
        text("SELECT name, body FROM release_view_target WHERE view = :view ORDER BY name"),
        {"view": f"production/{tag}"},
    )
    return Production(tag, number, expires, {name: orjson.loads(body) for name, body in rows}, wave, document, content)
