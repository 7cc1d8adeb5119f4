"""The README is run: its commands do what it says, in its order, in an empty directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from cli.main import VERSION, Main
from ledger.domain.errors import EXIT_CODES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_every_command_in_the_readme_runs(tmp_path: Path) -> None:
    """All shell blocks, as one script that stops at the first error."""
    script = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={"PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "reboots under load" in done.stdout


def test_the_demo_ends_with_a_device_that_has_its_target(tmp_path: Path) -> None:
    """scripts/demo's story, with the environment that runs this test; its directory is one of the caller's."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "demo.py"), "demo"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "fetched gateway-arm64-os-7" in done.stdout
    assert (tmp_path / "demo" / "device" / "gw-02" / "targets" / "gateway-arm64-os-7").is_file()


def test_the_version_is_said_alike() -> None:
    """--version says what was installed; asking the package's metadata at start-up would be slow."""
    assert version("waveledger") == VERSION


@pytest.mark.parametrize(("code", "meaning"), EXIT_CODES.items())
def test_exit_codes_are_documented(code: int, meaning: str) -> None:
    """The table is the one in the code."""
    assert f"| {code} | {meaning} |" in README


@pytest.mark.parametrize("noun", [name for name, entry in Main.lazy.items() if not entry.hidden])
def test_every_noun_is_used_in_the_readme(noun: str) -> None:
    """A command that the README does not show is one that nobody finds."""
    assert re.search(rf"^waveledger {noun}\b", README, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"WAVELEDGER_[A-Z_]+", (ROOT / "cli/settings.py").read_text()))))
def test_environment_variables_are_documented(name: str) -> None:
    """What the settings read is in the table."""
    assert f"| `{name}` |" in README
