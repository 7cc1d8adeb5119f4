"""All formats of a report tell the same numbers, and none of them lets a name be more than a name."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from cli.reports import plain
from cli.reports.document import document
from cli.reports.html import html
from cli.reports.page import Page, Said
from projections.reports.values import Span
from tests.reports import reading
from tests.reports.telling import IMAGE, PAGES, SCRIPT, Story, ask, builders
from tests.support import Factory, device

KINDS = list(PAGES)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wave", ["v7", "v8"])
def test_csv_has_the_numbers_of_json(story: Story, kind: str, wave: str) -> None:
    """Its columns are the fields of JSON, and hold the same, row by row."""
    report = story.ask(kind, wave=wave)
    told = document(kind, report)
    compared = 0
    for section in PAGES[kind](report).sections:
        records = reading.records(told, section.key)
        rows = reading.csv_rows(plain.csv(section))
        if records is None:
            continue
        assert len(rows) == len(records)
        for row, record in zip(rows, records, strict=True):
            assert row.keys() <= record.keys()
            assert record.keys() - row.keys() <= {"counts"}  # a column for each version
            for key in row:
                assert row[key] == reading.csv_field(record[key]), (section.key, key)
                compared += 1

    assert compared > 10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wave", ["v7", "v8"])
def test_html_has_the_tables_of_csv(story: Story, kind: str, wave: str) -> None:
    """Every cell of every table; its exact value stands beside what people read."""
    page = PAGES[kind](story.ask(kind, wave=wave))
    parsed = reading.parse(html(page))
    for section in page.sections:
        if section.rows:
            assert reading.html_rows(parsed, section.key) == reading.csv_rows(plain.csv(section.shown()))
        else:
            assert f'id="section-{section.key}"' in html(page)


@pytest.mark.parametrize("kind", KINDS)
def test_markdown_has_the_tables_of_csv(story: Story, kind: str) -> None:
    """Every cell of every table, some of them in words."""
    page = PAGES[kind](story.ask(kind))
    tables = reading.markdown_tables(plain.markdown(page))
    for section in (section.shown() for section in page.sections):
        rows = [list(row.values()) for row in reading.csv_rows(plain.csv(section))]
        found = tables.get(section.title, [])
        assert len(found) == len(rows)
        for row, cells, told in zip(rows, found, section.rows, strict=True):
            for raw, cell, value in zip(row, cells, told, strict=True):
                if isinstance(value, Said):
                    assert cell == (value.text or "-")
                elif not isinstance(value, Span):
                    assert cell == (raw or "-")


@pytest.mark.parametrize("kind", KINDS)
def test_the_terminal_has_the_facts_and_short_tables(story: Story, kind: str) -> None:
    """The many numbers of a curve are left out; everything else is there, and the ledger's position."""
    page = PAGES[kind](story.ask(kind))
    lines, tables = plain.tables(page)

    assert lines[0] == page.title
    assert f"ledger at position {page.basis.head.position}, root {page.basis.head.root[:16]}" in lines[-1]
    curves = {"share", "adoption"}
    assert [table.title for table in tables[1:]] == [s.title for s in page.sections if s.rows and s.key not in curves]
    assert [table.note for table in tables[1:]] == [s.note for s in page.sections if s.rows and s.key not in curves]


def test_facts_of_the_terminal_are_written_as_in_html(factory: Factory) -> None:
    """A thousand has its comma in the facts, as it has in the sentence above them."""
    factory.register(*[device(f"d{n:04}") for n in range(1000)])
    page = PAGES["fleet"](ask(factory, builders("", "release")["fleet"]))

    assert ("production devices", "1,000 (and 0 test devices)") in plain.tables(page)[1][0].rows
    assert "* **Production devices:** 1,000 (and 0 test devices)\n" in plain.markdown(page)


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_says_what_it_was_made_from(story: Story, kind: str) -> None:
    """Position, root and the signed checkpoint, word for word."""
    report = story.ask(kind)
    basis = report.basis
    told = document(kind, report)

    assert told["head"] == {"position": basis.head.position, "root": basis.head.root}
    assert told["checkpoint"] == {"position": basis.checkpoint.position, "note": basis.checkpoint.note}
    assert told["report"] == kind
    for text in (html(PAGES[kind](report)), plain.markdown(PAGES[kind](report))):
        assert basis.head.root in text
        assert basis.checkpoint.note.splitlines()[-1] in text


# hostile names


def hostile_pages(factory: Factory) -> dict[str, tuple[Any, Page]]:
    reports = {kind: ask(factory, build) for kind, build in builders("w1", "stable").items()}
    return {kind: (report, PAGES[kind](report)) for kind, report in reports.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_markup_in_names_is_text_in_html(hostile_factory: Factory, kind: str) -> None:
    """Elements and attributes are the templates' own; whatever was named is only text, and is there as it was given."""
    _, page = hostile_pages(hostile_factory)[kind]
    text = html(page)
    nodes = reading.parse(text).all()

    assert {node.tag for node in nodes} & {"script", "img", "iframe", "object", "a", "base", "form"} == set()
    assert [name for node in nodes for name in node.attributes if name.startswith("on")] == []
    assert SCRIPT not in text
    assert IMAGE not in text
    if kind in {"waves", "wave", "activity", "fleet"}:
        assert "&lt;script&gt;" in text
    for section in page.sections:
        if section.rows:
            rows = reading.csv_rows(plain.csv(section.shown()))
            assert reading.html_rows(reading.parse(text), section.key) == rows


def test_markup_in_names_is_text_in_markdown(hostile_factory: Factory) -> None:
    """Pipes do not add cells, brackets no links, and no HTML is left."""
    report, page = hostile_pages(hostile_factory)["waves"]
    text = plain.markdown(page)
    tables = reading.markdown_tables(text)

    assert "<script>" not in text.replace("\\<", "")
    assert tables["Why waves were canceled"] == [[report.waves[0].reason, "1"]]
    assert len(tables["Waves"][0]) == len(page.sections[0].columns)


def test_the_templates_escape_whatever_is_on_a_page(story: Story) -> None:
    """Even where the ledger allows no markup today: every text of a page and its charts goes through the escaping."""
    evil = "\"'><script>alert(1)</script>&"

    def spoil(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            kept = {"tone", "key", "kind"}  # chosen by the code, never by a name
            return type(value)(
                **{
                    f.name: getattr(value, f.name) if f.name in kept else spoil(getattr(value, f.name))
                    for f in dataclasses.fields(value)
                }
            )
        if isinstance(value, str):
            return value + evil if value else value
        if isinstance(value, list | tuple):
            return [spoil(one) for one in value]
        return value

    for kind in KINDS:
        page = spoil(PAGES[kind](story.ask(kind)))
        clean = reading.parse(html(PAGES[kind](story.ask(kind)))).all()
        spoiled = reading.parse(html(page)).all()

        assert {n.tag for n in spoiled} == {n.tag for n in clean}
        assert {name for n in spoiled for name in n.attributes} == {name for n in clean for name in n.attributes}
        assert all(evil in n.text for n in spoiled if n.tag in {"h1", "h2", "desc", "thead"} and n.text != "Made from")
