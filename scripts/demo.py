"""A whole wave, from CI's target to a device that installs it, with the real program and a real TUF client.

Everything happens in one new directory and on this machine: a web server on loopback serves what the ledger
published, and python-tuf's client stands in for the device. Run it with scripts/demo.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tuf.ngclient import Updater

PROGRAM = Path(sys.executable).parent / "waveledger"
HARDWARE = ("gateway-arm64", "gateway-x86")
BUILDS = (7, 8)


class QuietServer(SimpleHTTPRequestHandler):
    """A plain web server that does not log to the narration."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class calls it so
        """Say nothing."""


def main() -> None:
    """Play the story from beginning to end."""
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="waveledger-demo-"))
    where = where.absolute()  # the web server and the reader of the last line are not in it
    where.mkdir(parents=True, exist_ok=True)
    if any(where.iterdir()):
        sys.exit(f"error: {where} is not empty\nhint: name a new directory, or none for a temporary one")
    os.chdir(where)
    os.environ.update(WAVELEDGER_ACTOR="alice", WAVELEDGER_PUBLISH="tuf", WAVELEDGER_STORE="sqlite:///waveledger.db")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietServer, directory=str(where))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        story(f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
    print(f"\nAll of it is in {where}: the ledger, the keys, and the published tree. Look around there:")
    print(f"  cd {where} && {PROGRAM} audit log")


def story(url: str) -> None:
    """What a release engineer does, and what a device sees of it."""
    chapter("1. A factory", "A ledger in one SQLite file, its keys, and two TUF roots: one for production, one for CI.")
    run("init --factory demo")
    make_builds()
    make_fleet()
    chapter("2. What CI built, and the fleet", "CI says which targets exist, a CSV which devices do.")
    run("targets import ci-targets.json")
    run("devices import devices.csv")
    device = Device("gw-02", url)
    run("devices show gw-02")
    print("gw-02 sees nothing yet: nothing was released for its tag.")

    chapter("3. A wave", "Build 7 is prepared for the tag `stable` and signed with an offline key. Nobody gets it yet.")
    run("waves init first 7 stable -k keys/targets.only.key.tgz")
    run("waves rollout first --group canary")
    run("waves status first")

    chapter(
        "4. The device", "gw-02 is a canary. A TUF client with nothing but the root it was made with asks its view."
    )
    device.update()
    run("devices report reports.csv", reports=[("gw-02", device.installed)])

    chapter("5. Complete", "The canaries are fine, so build 7 becomes production for every device on the tag.")
    run("waves complete first")
    other = Device("gw-05", url)
    other.update()

    chapter("6. A wave that is taken back", "Build 8 goes to one device, and is canceled before it is installed.")
    run("waves init second 8 stable -k keys/targets.only.key.tgz")
    run("waves rollout second --uuids " + uuid_of("gw-05"))
    other.look()
    run('waves cancel second --reason "reboots under load"')
    other.look()
    print("The client accepts the way back, because the ledger signed it together with the wave: versions only grow.")

    chapter("7. The history", "Every step is an event that can't be changed. This is what an auditor reads:")
    run("audit log")
    run("tuf verify")
    run("status")


class Device:
    """A pretended device: a TUF client with its own trusted root and metadata, kept through the story."""

    def __init__(self, name: str, url: str) -> None:
        """A device is made with the production root inside (first boot, TUF 1.0 §5.2)."""
        self.name, self.url = name, url
        self.installed = ""
        self.state = Path("device", name)
        (self.state / "metadata").mkdir(parents=True)
        (self.state / "targets").mkdir()
        self.root = ask("keys tuf show-root --prod --format json")

    def update(self) -> None:
        """Look, and fetch what is offered."""
        updater, wanted = self.look()
        info = updater.get_targetinfo(wanted)
        if info is None:
            sys.exit(f"error: the client does not find {wanted}, which the ledger announces")
        path = Path(updater.download_target(info))
        self.installed = wanted
        print(f"> device {self.name} fetched {wanted}: {path.stat().st_size} bytes, hash verified")
        print(f"> {path.read_text().splitlines()[0]}")

    def look(self) -> tuple[Updater, str]:
        """Ask the gateway for the view, and refresh: the client checks every signature, version and expiry."""
        shown = json.loads(ask(f"devices show {self.name} --format json"))
        view = shown["eligible"]["view"]
        updater = Updater(
            metadata_dir=str(self.state / "metadata"),
            metadata_base_url=f"{self.url}/tuf/{view}/",
            target_dir=str(self.state / "targets"),
            target_base_url=f"{self.url}/targets/",
            bootstrap=self.root,
        )
        updater.refresh()
        wanted = shown["eligible"]["latest"]
        print(f"> device {self.name} ({shown['hardware_id']}) asks {view}/: metadata verified, it is offered {wanted}")
        return updater, wanted


def make_builds() -> None:
    """CI's output: a small file for each hardware and build, and the metadata that names them."""
    targets = {}
    Path("targets").mkdir()
    for number in BUILDS:
        for hardware in HARDWARE:
            name = f"{hardware}-os-{number}"
            image = f"I am build {number} of the operating system for {hardware}.\n" + "0123456789abcdef\n" * 256
            digest = hashlib.sha256(image.encode()).hexdigest()
            Path("targets", f"{digest}.{name}").write_text(image)
            custom = {"version": str(number), "hardwareIds": [hardware], "tags": ["main"], "delta-stats": {"size": 64}}
            targets[name] = {"length": len(image.encode()), "hashes": {"sha256": digest}, "custom": custom}
    Path("ci-targets.json").write_text(json.dumps(targets, indent=1))


def make_fleet() -> None:
    """Six production devices, two of them canaries, and a test device."""
    with Path("devices.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["uuid", "name", "hardware_id", "tag", "group", "production"])
        for number in range(1, 7):
            group = "canary" if number <= 2 else "europe"
            name = f"gw-{number:02}"
            writer.writerow([uuid_of(name), name, HARDWARE[number % 2], "stable", group, "true"])
        writer.writerow([uuid_of("desk-01"), "desk-01", HARDWARE[0], "main", "", "false"])


def uuid_of(name: str) -> str:
    """A made-up uuid for a made-up device."""
    return f"00000000-0000-4000-8000-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def chapter(title: str, text: str) -> None:
    """A heading and what it is about."""
    print(f"\n{'=' * 100}\n{title}\n{text}\n", flush=True)


def run(command: str, reports: list[tuple[str, str]] | None = None) -> None:
    """Show a command, run it, show what it says."""
    if reports is not None:
        rows = [f"{uuid_of(name)},{target}," for name, target in reports]
        Path("reports.csv").write_text("\n".join(["uuid,target,seen_at", *rows]) + "\n")
    print(f"$ waveledger {command}", flush=True)
    subprocess.run([str(PROGRAM), *shlex.split(command)], check=True, stderr=subprocess.STDOUT)
    print(flush=True)


def ask(command: str) -> bytes:
    """Run a command and take what it prints."""
    return subprocess.run([str(PROGRAM), *shlex.split(command)], check=True, capture_output=True).stdout


if __name__ == "__main__":
    main()
