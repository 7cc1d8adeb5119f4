"""`waveledger devices report` on the command line: long lists of strangers, slow sources, files with an error."""

from __future__ import annotations

import subprocess

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.output import Format
from cli.streaming import show_listing
from tests.cli.conftest import Waveledger

HEADER = "uuid,target,seen_at\n"


def one(shell: Waveledger) -> str:
    """A device of the fleet."""
    return str(shell.ask("devices", "list", "--limit", "1")["devices"][0]["uuid"])


def test_strangers_are_all_listed_as_json_and_some_of_them_in_words(acme: Waveledger) -> None:
    """Counted, never fatal, each once; the known device beside them is heard."""
    strangers = [f"stranger-{number}" for number in range(2_500)]
    rows = "".join(f"{uuid},,\n" for uuid in (*strangers, *strangers)) + f"{one(acme)},no-such-target,\n"
    said = acme.do("devices", "report", "-", stdin=HEADER + rows)
    assert said.out == "reports: 1 with another target, 0 sightings, 0 late, 5000 of unknown devices\n"
    assert "not in the fleet: 2,500 devices: stranger-0, " in said.err
    assert "stranger-19 and 2,480 more (all of them with --format json)" in said.err
    assert "never seen here: 1 target: no-such-target" in said.err

    document = acme.do("devices", "report", "-", "--format", "json", stdin=HEADER + rows).json
    assert document["unknown"] == strangers
    assert (document["reports"], document["of_unknown"], document["sightings"]) == (5_001, 5_000, 1)
    assert document["unknown_targets"] == ["no-such-target"]


def test_a_slow_source_keeps_nobody_waiting(acme: Waveledger) -> None:
    """While reports still come in, others write; the ledger is locked when all of them are there."""
    process = acme.start("devices", "report", "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(f"{HEADER}{one(acme)},raspberrypi4-64-lmp-48,\n")
    process.stdin.flush()
    acme.ok("devices", "set", one(acme), "--group", "meanwhile")
    out, _ = process.communicate(timeout=120)

    assert (process.returncode, out) == (0, "reports: 1 with another target, 0 sightings, 0 late\n")


def test_an_error_at_the_end_undoes_all_of_it(acme: Waveledger) -> None:
    """The last line is no report: nothing is appended, nobody was seen, and it is said where."""
    before = acme.head()
    refused = acme.quick("devices", "report", "-", stdin=f"{HEADER}{one(acme)},raspberrypi4-64-lmp-48,\nx,y,z\n")

    assert refused.rc == 3
    assert "<stdin>, line 3" in refused.err
    assert acme.head() == before
    assert acme.ask("devices", "show", one(acme))["seen_at"] is None


names = st.lists(st.text(max_size=5), max_size=5)


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 9), min_size=1, max_size=3), names, names)
def test_a_list_is_printed_as_it_would_be_whole(document: dict[str, int], first: list[str], second: list[str]) -> None:
    """Byte for byte what the JSON of the whole document is."""
    lists = {"first list": first, "second list": second}
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr("typer.echo", lambda text, nl=True: printed.append(text + ("\n" if nl else "")))
        show_listing(document, lists, "", Format.JSON)

    assert "".join(printed).encode() == orjson.dumps({**document, **lists}, option=orjson.OPT_INDENT_2) + b"\n"
