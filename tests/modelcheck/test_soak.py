from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parent.parent.parent / "scripts" / "soak.py"


@pytest.mark.slow
def test_one_history_of_the_long_run_is_told(tmp_path: Path) -> None:
    """The script runs, prints tables, and writes what it found, the machine and the seed included."""
    out = tmp_path / "soak.json"
    arguments = ["--histories", "1", "--seed", "4", "--clients", "ngclient", "--no-controls", "-o", str(out)]
    came = subprocess.run([sys.executable, str(SOAK), *arguments], capture_output=True, text=True, check=False)

    assert came.returncode == 0, came.stdout + came.stderr
    assert "| moves between views | all | mid-refresh |" in came.stdout
    found = json.loads(out.read_bytes())
    assert found["problems"] == {}
    assert found["seed"] == 4
    assert found["histories"] == 1
    assert found["machine"]["python-tuf"]
    assert found["refreshes"]["ngclient"] > 50
