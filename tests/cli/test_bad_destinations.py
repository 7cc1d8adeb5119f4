"""Destinations that can't be used, or not even parsed: a refusal, and never a wave that is recorded with a failure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from projections.tuf.destination import DestinationUnusable, Directory
from projections.tuf.objects import without_password
from tests.cli.conftest import KEYS, Waveledger

LONG = "x" * 300  # longer than any file system's names, so that even root is refused
PLACES = ["a://[", "ftp://u:secret@[/x", "file://[/x", "loop", LONG]


@pytest.fixture(scope="module")
def ready(imported: Callable[..., Waveledger], tmp_path_factory: pytest.TempPathFactory) -> Waveledger:
    """A wave that is ready, and a link that leads to itself."""
    shell = imported("acme").copy(tmp_path_factory.mktemp("destinations") / "acme")
    shell.do("waves", "init", "v46", "46", "release", *KEYS)
    (shell.cwd / "loop").symlink_to("loop")
    return shell


@pytest.mark.parametrize("place", PLACES)
def test_what_was_asked_for_is_recorded(ready: Waveledger, tmp_path: Path, place: str) -> None:
    """A wave command that can't publish says so and ends well."""
    shell = ready.copy(tmp_path / "own", WAVELEDGER_PUBLISH=place)
    came = shell.quick("waves", "complete", "v46")
    assert came.rc == 0, came.err
    assert "recorded, not yet published" in came.err
    assert "secret" not in came.err
    assert shell.ask("waves", "show", "v46")["status"] == "complete"


@pytest.mark.parametrize("command", ["publish", "refresh", "verify"])
@pytest.mark.parametrize("place", PLACES)
def test_a_place_is_refused(ready: Waveledger, command: str, place: str) -> None:
    """Named on the command line it is the user's mistake, or the machine's: not a bug of ours."""
    came = ready.quick("tuf", command, place)
    assert (came.rc, came.out) in ((2, ""), (7, ""))
    assert "hint: " in came.err
    assert "secret" not in came.err


def test_what_a_directory_says(tmp_path: Path) -> None:
    """Each question to a place that the system refuses to look at is answered with the same error."""
    place = Directory(tmp_path / LONG)
    for ask in (
        lambda: place.exists("pool/a/1.root.json"),
        lambda: place.read("pool/a/1.root.json"),
        place.views,
        lambda: place.link("pool/a/1.root.json", "a/b/1.root.json"),
        lambda: place.replace("a/b/timestamp.json", b""),
        lambda: place.remove("a/b"),
    ):
        with pytest.raises(DestinationUnusable):
            ask()


def test_a_password_is_never_shown() -> None:
    """Not even of a URL that makes no sense."""
    assert without_password("s3://u:secret@h:port/x") == "s3://…"
    assert without_password("s3://u:secret@h/x") == "s3://u@h/x"
