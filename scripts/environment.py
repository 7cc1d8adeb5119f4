"""Make `.venv`, or bring it up to date.

- `runtime` has what the program needs, `dev` adds tests and checks. Both are installed from lock files, by hash, and
  from wheels only: nothing is built by a tool that the locks don't name. The project itself is installed as editable.
- A stamp, written last, says what the environment holds. Where it matches, nothing is run and no network is needed.
- Runtime becomes dev in place (the dev lock has the same pins and more). Any other difference makes it anew, so that
  nothing stays behind that no lock names.
- Several at once take turns. One that is killed leaves no stamp, and the next starts over.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
STAMP = ENVIRONMENT / "waveledger-setup.json"
LOCKS = {"runtime": ROOT / "scripts/lock.d/runtime.txt", "dev": ROOT / "scripts/lock.d/dev.txt"}


def main() -> int:
    """Bring the environment up to date, unless it is."""
    parser = argparse.ArgumentParser(prog="scripts/setup", description="Make .venv, or bring it up to date.")
    parser.add_argument("profile", nargs="?", choices=list(LOCKS), default="dev")
    profile = parser.parse_args().profile
    if is_ready(read_stamp(), profile):
        return 0
    with (ROOT / ".venv.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        try:
            update(profile)
        except subprocess.CalledProcessError:
            say("failed, for the reason above; what was installed so far is thrown away by the next try")
            return 1
    return 0


def update(profile: str) -> None:
    """Install what the stamp says is missing; called by one process at a time."""
    stamp = read_stamp()  # again: another process may just have done it
    if is_ready(stamp, profile):
        return
    want = wanted()
    same_base = all(stamp.get(name) == want[name] for name in ("root", "python", "runtime"))
    if not (same_base and PYTHON.exists() and stamp.get("dev") in {None, want["dev"]}):
        create()
        stamp = {name: want[name] for name in ("root", "python")}
    if stamp.get(profile) != want[profile]:
        install(profile)
        # Dev holds all of runtime.
        stamp |= {name: want[name] for name in ("runtime", profile)}
    if stamp.get("project") != want["project"]:
        pip("--no-index", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
        stamp["project"] = want["project"]
    fresh = STAMP.with_suffix(".new")
    fresh.write_text(json.dumps(stamp, indent=1) + "\n")
    fresh.replace(STAMP)


def is_ready(stamp: dict[str, str], profile: str) -> bool:
    """Tell whether the environment holds what this profile needs, as the locks have it now."""
    want = wanted()
    dev_is_current = stamp.get("dev") in {None, want["dev"]}
    names = {"root", "python", "runtime", "project", profile}
    return dev_is_current and PYTHON.exists() and all(stamp.get(name) == want[name] for name in names)


def wanted() -> dict[str, str]:
    """Return what a complete stamp says: where, which Python, and the digests of all that is installed from."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = [pyproject["build-system"], pyproject["project"], pyproject["tool"]["hatch"]]
    return {
        "root": str(ROOT),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "project": digest(json.dumps(project, sort_keys=True).encode()),
    } | {profile: digest(lock.read_bytes()) for profile, lock in LOCKS.items()}


def read_stamp() -> dict[str, str]:
    """Return what the environment says of itself; nothing where there is none, or one that was not finished."""
    try:
        stamp: dict[str, str] = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp


def create() -> None:
    """Make an empty environment where the old one was.

    The old one is moved away first: this very process may run from it.
    """
    if ENVIRONMENT.exists():
        old = ROOT / f".venv.old-{os.getpid()}"
        ENVIRONMENT.rename(old)
        shutil.rmtree(old)
    venv.create(ENVIRONMENT, with_pip=True, symlinks=True)


def install(profile: str) -> None:
    """Install one lock file."""
    lock = LOCKS[profile]
    packages = sum("==" in line for line in lock.read_text().splitlines())
    say(f"installing the {packages} packages of {lock.relative_to(ROOT)} into {ENVIRONMENT.name}")
    pip("--require-hashes", "--only-binary=:all:", "--requirement", str(lock))


def pip(*arguments: str) -> None:
    """Run the environment's own pip, quietly; the index is the one that pip is configured for."""
    settings = os.environ | {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    subprocess.run([PYTHON, "-I", "-m", "pip", "install", "-qq", *arguments], check=True, env=settings)


def digest(content: bytes) -> str:
    """Return what tells one content from another."""
    return hashlib.sha256(content).hexdigest()


def say(line: str) -> None:
    """Tell the user what is going on, on stderr: stdout belongs to what runs afterwards."""
    print(f"setup: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
