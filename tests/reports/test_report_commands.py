"""The command ``report``: formats, files, refusals, and ledgers with little in them."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from cli.main import app
from tests import stores
from tests.reports import reading
from tests.reports.telling import PAGES, Story, hour
from tests.support import Factory, device

ROOT = Path(__file__).parents[2]
FORMATS = ("table", "json", "csv", "markdown", "html")
QUESTIONS = {kind: {"tag": ["stable"], "wave": ["v7"]}.get(kind, []) for kind in PAGES}


def run(path: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """A command on a ledger."""
    cleared: dict[str, str | None] = {name: None for name in os.environ if name.startswith("WAVELEDGER_")}
    settings = {**cleared, "WAVELEDGER_STORE": stores.url(path), **environment}
    came = CliRunner().invoke(app, list(arguments), env=settings)
    if came.exception is not None and not isinstance(came.exception, SystemExit):
        raise came.exception
    return came.exit_code, came.stdout, came.stderr


@pytest.mark.parametrize("kind", PAGES)
def test_every_report_in_every_format(story: Story, kind: str) -> None:
    """Data on stdout and nothing elsewhere; a format of its own for each."""
    told = {}
    for form in FORMATS:
        code, out, err = run(story.factory.path, "report", kind, *QUESTIONS[kind], "--format", form)
        assert (code, err) == (0, "")
        told[form] = out

    assert orjson.loads(told["json"])["report"] == kind
    assert reading.csv_rows(told["csv"])
    assert told["markdown"].startswith("# ")
    assert told["html"].startswith("<!doctype html>")
    assert told["table"].splitlines()[0] == told["markdown"].splitlines()[0].removeprefix("# ")


@pytest.mark.parametrize("kind", [kind for kind in PAGES if kind not in {"tag", "wave"}])
@pytest.mark.parametrize("form", FORMATS)
def test_a_new_ledger_has_reports(factory: Factory, kind: str, form: str) -> None:
    """Nothing happened yet, and that is what they say."""
    code, out, err = run(factory.path, "report", kind, "--format", form)

    assert (code, err) == (0, "")
    assert out


@pytest.mark.parametrize("kind", PAGES)
def test_a_ledger_with_one_wave_has_reports(factory: Factory, kind: str) -> None:
    """A tag without production targets, a wave without a rollout, a device that never reported."""
    factory.build(7)
    factory.register(device("a", "stable"))
    factory.init("v7", 7, "stable")
    for form in FORMATS:
        code, out, err = run(factory.path, "report", kind, *QUESTIONS[kind], "--format", form)
        assert (code, err) == (0, "")
        assert out


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("r.html", "<!doctype html>"),
        ("r.md", "# Waves"),
        ("r.csv", "name,version"),
        ("r.json", "{"),
        ("r.txt", "Waves of"),
    ],
)
def test_a_file_is_written_as_its_name_says(story: Story, tmp_path: Path, name: str, begins: str) -> None:
    """By its suffix, if no format was given; then stdout is empty."""
    code, out, err = run(story.factory.path, "report", "waves", "-o", str(tmp_path / name))

    assert (code, out, err) == (0, "", f"wrote {tmp_path / name}\n")
    assert (tmp_path / name).read_text().startswith(begins)


def test_the_format_option_wins_over_name_and_environment(story: Story, tmp_path: Path) -> None:
    """--format, then the file's name, then WAVELEDGER_FORMAT."""
    file = tmp_path / "r.html"
    run(story.factory.path, "report", "waves", "-o", str(file), "--format", "json", WAVELEDGER_FORMAT="csv")
    assert file.read_text().startswith("{")
    run(story.factory.path, "report", "waves", "-o", str(file), WAVELEDGER_FORMAT="csv")
    assert file.read_text().startswith("<!doctype")
    assert run(story.factory.path, "report", "waves", WAVELEDGER_FORMAT="markdown")[1].startswith("# ")


def test_any_table_as_csv(story: Story) -> None:
    """--table names one of them; an unknown one is told which there are."""
    path = story.factory.path
    rows = reading.csv_rows(run(path, "report", "wave", "v7", "-f", "csv", "--table", "adoption")[1])
    assert [row["updated"] for row in rows] == ["0", "1", "2", "4", "7"]

    code, out, err = run(path, "report", "wave", "v7", "-f", "csv", "--table", "nope")
    assert (code, out) == (4, "")
    assert "its tables are: timeline, adoption," in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["wave", "nope"], 4, "there is no wave nope"),
        (["tag", "nope"], 4, "there is no tag 'nope'"),
        (
            ["waves", "--since", "2027-01-02T00:00:00Z", "--until", "2027-01-01T00:00:00Z"],
            2,
            "--since is after --until",
        ),
        (["waves", "--since", "yesterday"], 3, "yesterday"),
        (["waves", "--since", "2999-01-01T00:00:00Z"], 3, "the period begins at 2999-01-01T00:00:00Z"),
        (["tag", "stable", "--since", "2999-01-01T00:00:00Z"], 3, "the report goes up to"),
        (["fleet", "--since", "2999-01-01T00:00:00Z"], 3, "the report goes up to"),
        (["activity", "--since", "2999-01-01T00:00:00Z", "--until", "2999-01-02T00:00:00Z"], 3, "goes up to"),
        (["waves", "-o", "/no/such/directory/r.html"], 7, "cannot write /no/such/directory/r.html"),
        (["fleet", "--at", "99999"], 4, "99999"),
        (["wave", "v7", "--table", "adoption"], 2, "--table goes with csv, and this is to be table"),
        (["wave", "v7", "--table", "adoption", "-f", "html"], 2, "add --format csv"),
        (["fleet", "-o", "fleet.pdf"], 2, "fleet.pdf: its name does not say how to write it"),
    ],
)
def test_refusals(story: Story, arguments: list[str], code: int, message: str) -> None:
    """Each with the exit code of its kind, and nothing on stdout."""
    came = run(story.factory.path, "report", *arguments)

    assert came[:2] == (code, "")
    assert message in came[2]


def test_an_unknown_format_in_the_environment(story: Story) -> None:
    """It is refused, and not taken for another one."""
    assert run(story.factory.path, "report", "waves", WAVELEDGER_FORMAT="pdf")[0] == 2


def test_a_report_of_the_past(story: Story) -> None:
    """--at: the clock is that of the moment, later waves are unknown, and nobody knows who was silent."""
    path = story.factory.path
    at = "2027-01-16T09:00:00Z"  # hour 25
    waves = orjson.loads(run(path, "report", "waves", "--at", at, "-f", "json")[1])
    fleet = orjson.loads(run(path, "report", "fleet", "--at", at, "-f", "json")[1])

    assert [wave["name"] for wave in waves["waves"]] == ["v7"]
    assert (waves["at"], waves["period"]["until"]) == (at, at)
    assert fleet["silence"] is None
    assert fleet["at"] == at
    assert fleet["share"]["points"][-1] == {"at": at, "devices": 9, "orphans": 0, "counts": [5, 4], "other": 0}
    assert hour(25) == 1_800_090_000


def test_the_templates_are_in_the_wheel(tmp_path: Path) -> None:
    """A built distribution has all that HTML needs."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    templates = {f"cli/reports/templates/{file.name}" for file in (ROOT / "cli/reports/templates").iterdir()}

    assert templates
    assert templates <= names
