"""Make the lock files anew from pyproject.toml, or check that they belong to it.

Each lock holds, for every platform and every Python we support, exact versions with the hashes of their files, and no
word about where they come from: that is the business of whoever installs. Its first line holds a digest of what it was
made from, so that the check needs no network.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "scripts/lock.d"
MADE_FROM = "# made by scripts/lock from "
UV = "uv==0.13.9"

# Dev is made within the limits of runtime: the same versions, and more.
PROFILES = {
    "runtime": ["--group", "build"],
    "dev": [
        *("--group", "dev", "--extra", "postgres", "--extra", "s3", "--extra", "hsm", "--extra", "aws"),
        *("--constraint", "scripts/lock.d/runtime.txt"),
    ],
}


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="scripts/lock", description="Make the lock files anew, or check them.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--upgrade", action="store_true", help="to the newest versions; else pins stay where they can")
    how.add_argument("--check", action="store_true", help="only tell whether they belong to pyproject.toml")
    arguments = parser.parse_args()
    if arguments.check:
        return check()
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True, symlinks=True)
        python = Path(folder, "bin/python")
        subprocess.run([python, "-I", "-m", "pip", "install", "-qq", "--only-binary=:all:", UV], check=True)
        for profile, options in PROFILES.items():
            compile_lock(Path(folder, "bin/uv"), profile, options, upgrade=arguments.upgrade)
    return check()


def compile_lock(uv: Path, profile: str, options: list[str], *, upgrade: bool) -> None:
    """Write one lock file."""
    lock = FOLDER / f"{profile}.txt"
    command = [str(uv), "pip", "compile", "pyproject.toml", *options, "--universal", "--generate-hashes", "--no-header"]
    command += ["--no-build", "--no-emit-index-url", "--no-emit-find-links", "--python-version", "3.11", "--quiet"]
    # An output file that exists is where uv takes the pins from that stay.
    command += ["--output-file", str(lock.relative_to(ROOT))] + (["--upgrade"] if upgrade else [])
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"UV_NO_PROGRESS": "1"}, stdout=subprocess.DEVNULL)
    lock.write_text(f"{MADE_FROM}{inputs()}\n{lock.read_text()}")


def check() -> int:
    """Tell whether each lock was made from what pyproject.toml says now, and names no host."""
    problems = []
    for profile in PROFILES:
        name = f"scripts/lock.d/{profile}.txt"
        lock = (ROOT / name).read_text()
        if lock.partition("\n")[0] != f"{MADE_FROM}{inputs()}":
            problems.append(f"error: {name} does not belong to pyproject.toml\nhint: scripts/lock makes it anew")
        if "://" in lock or "--index" in lock:
            problems.append(f"error: {name} names a host")
    print("\n".join(problems) or "lock files belong to pyproject.toml", file=sys.stderr if problems else sys.stdout)
    return 1 if problems else 0


def inputs() -> str:
    """Return a digest of everything in pyproject.toml that decides what is locked."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = ("requires-python", "dependencies", "optional-dependencies")
    content = [{name: pyproject["project"][name] for name in names}, pyproject["dependency-groups"], PROFILES]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
