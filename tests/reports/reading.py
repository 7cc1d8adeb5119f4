"""Reading reports back: tables of CSV, Markdown and HTML, and the structure of a page."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "link", "br"}


@dataclass
class Node:
    """An element."""

    tag: str
    attributes: dict[str, str]
    children: list[Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it, with its white space made one."""
        return re.sub(r"\s+", " ", "".join(c if isinstance(c, str) else c.text for c in self.children)).strip()

    def find(self, tag: str) -> list[Node]:
        """All elements of that tag in it, in their order."""
        found = []
        for child in self.children:
            if isinstance(child, Node):
                found += [child] if child.tag == tag else []
                found += child.find(tag)
        return found

    def all(self) -> list[Node]:
        """All elements in it."""
        nodes = [child for child in self.children if isinstance(child, Node)]
        return [found for node in nodes for found in (node, *node.all())]


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Node("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Node(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(html: str) -> Node:
    """The page; whatever is not closed in order is an error."""
    builder = _Builder()
    builder.feed(html)
    builder.close()
    assert builder.open == [builder.root]
    return builder.root


def csv_rows(text: str) -> list[dict[str, str]]:
    """The rows of a CSV table."""
    return list(csv.DictReader(io.StringIO(text)))


def csv_field(value: object) -> str:
    """A value of JSON as CSV has it."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def html_rows(page: Node, table: str) -> list[dict[str, str]]:
    """A table of a page, by the CSV names of its columns, as CSV has its cells."""
    (found,) = [node for node in page.find("table") if node.attributes["data-table"] == table]
    keys = [head.attributes["data-key"] for head in found.find("thead")[0].find("th")]
    rows = found.find("tbody")[0].find("tr")
    return [dict(zip(keys, map(_raw, _cells(row)), strict=True)) for row in rows]


def _cells(row: Node) -> list[Node]:
    return [cell for cell in row.children if isinstance(cell, Node)]


def _raw(cell: Node) -> str:
    for tag, attribute in (("time", "datetime"), ("data", "value")):
        if found := cell.find(tag):
            return found[0].attributes[attribute]
    return "" if any("blank" in node.attributes.get("class", "") for node in cell.all()) else cell.text


def markdown_tables(text: str) -> dict[str, list[list[str]]]:
    """The cells of each table of a Markdown report, by the heading above it, unescaped."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in text.splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif line.startswith("|") and not line.startswith(("|---", "|--:")):
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            found.setdefault(heading, []).append([re.sub(r"\\(.)", r"\1", cell.strip()) for cell in cells])
    return {name: rows[1:] for name, rows in found.items()}


def path_points(path: str) -> list[tuple[float, float]]:
    """The corners of a path."""
    return [(float(x), float(y)) for x, y in re.findall(r"([-\d.]+),([-\d.]+)", path)]


def shapes(page: Node, chart: str) -> dict[str, dict[str, str]]:
    """The paths of a chart by the name of their series."""
    svg = svg_of(page, chart)
    return {node.attributes["data-series"]: node.attributes for node in svg.find("path")}


def svg_of(page: Node, chart: str) -> Node:
    """A chart."""
    (found,) = [node for node in page.find("svg") if node.attributes.get("data-chart") == chart]
    return found


def records(document: dict[str, Any], table: str) -> list[dict[str, Any]] | None:
    """The list in a JSON report that a table shows; None where the table puts several fields into words."""
    places: dict[tuple[str, str], Any] = {
        ("waves", "waves"): lambda d: d["waves"],
        ("tag", "releases"): lambda d: d["releases"],
        ("tag", "targets"): lambda d: d["now"]["targets"],
        ("wave", "adoption"): lambda d: d["adoption"],
        ("wave", "milestones"): lambda d: d["milestones"],
        ("wave", "rollouts"): lambda d: d["rollouts"],
        ("wave", "signatures"): lambda d: d["signatures"],
        ("wave", "timeline"): lambda d: d["timeline"],
        ("fleet", "offered"): lambda d: d["offered"],
        ("fleet", "versions"): lambda d: d["versions"],
        ("fleet", "longest"): lambda d: d["silence"]["longest"],
        ("fleet", "silence"): lambda d: d["silence"]["steps"],
        ("activity", "actors"): lambda d: d["actors"],
        ("activity", "busy"): lambda d: d["busy"],
        ("expiry", "expiring"): lambda d: d["expiring"],
        ("expiry", "keys"): lambda d: d["keys"],
        ("tag", "share"): _share,
        ("fleet", "share"): _share,
    }
    place = places.get((document["report"], table))
    return None if place is None else place(document)


def _share(document: dict[str, Any]) -> list[dict[str, Any]]:
    versions = [f"version_{version}" for version in document["share"]["versions"]]
    return [{**point, **dict(zip(versions, point["counts"], strict=True))} for point in document["share"]["points"]]
