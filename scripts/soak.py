"""The long model check (tests/modelcheck): histories until enough refreshes and moves were seen, then the controls.

Histories are numbered; the number is the seed of one history, so any of them can be had again alone:
``scripts/soak --seed N --histories 1``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.modelcheck import check, steps
from tests.modelcheck.clients import NgClient, NoTufJs, TufClient, TufJs, install_tuf_js
from tests.modelcheck.mutants import MUTANTS, WEIGHTS_OF
from tests.modelcheck.server import WebServer

FAILED = 6  # the program's own code for "a check found problems"
MOVES_MIN = 100
LENGTH = 300  # steps of a history
CONTROLS = 4  # histories of each negative control


def main() -> int:
    """Run, tell, and write what was found."""
    options = read_options()
    server = WebServer()
    clients: list[TufClient] = [NgClient()]
    try:
        if "tuf-js" in options.clients:
            clients.append(TufJs())
    except NoTufJs as problem:
        say(f"error: {problem}")
        return 1
    began = time.monotonic()
    try:
        counts, histories, failure = soak(options, server, clients, began)
        controls = {} if failure else run_controls(options, server, clients)
    finally:
        for client in clients:
            client.close()
        server.close()
    rare = too_rare(counts) if options.refreshes >= 10_000 and not options.histories else []
    document = {
        "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": machine(clients),
        "seed": options.seed,
        "histories": histories,
        "steps_each": LENGTH,
        "seconds": round(time.monotonic() - began, 1),
        "requests": server.requests,
        "refreshes": dict(sorted(counts.refreshes.items())),
        "moves": {kind: {"all": n, "mid_refresh": counts.moves_busy[kind]} for kind, n in sorted(counts.moves.items())},
        "actions": dict(sorted(counts.actions.items())),
        "problems": dict(counts.problems),
        "controls": controls,
        "too_rare": rare,
    }
    if options.out:
        options.out.write_text(json.dumps(document, indent=2) + "\n")
    print(as_text(document))
    if failure:
        print(f"\n{failure}")
    blind = [name for name, found in controls.items() if not found["refused"]]
    return FAILED if failure or rare or blind else 0


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description="The model check, long.")
    parser.add_argument("--refreshes", type=int, default=10_000, help="of each client, at least (default 10000)")
    parser.add_argument("--seconds", type=int, help="stop after that long, whatever was reached")
    parser.add_argument("--histories", type=int, help="exactly so many histories, whatever they come to")
    parser.add_argument(
        "--seed", type=int, default=1000, help="the first history's; the others count up (default 1000)"
    )
    parser.add_argument("--clients", default="ngclient,tuf-js", help="or ngclient alone, where there is no node")
    parser.add_argument("--no-controls", action="store_true", help="leave the negative controls out")
    parser.add_argument("-o", dest="out", type=Path, metavar="FILE", help="write JSON here")
    return parser.parse_args()


def soak(
    options: argparse.Namespace, server: WebServer, clients: Sequence[TufClient], began: float
) -> tuple[check.Counts, int, check.Failed | None]:
    """Histories until there are enough, or until one fails."""
    counts, histories = check.Counts(), 0
    while not enough(options, counts, clients, histories, began):
        seed = options.seed + histories
        history = steps.draw(seed, LENGTH)
        try:
            done = check.run(history, seed, server, clients)
        except KeyboardInterrupt:
            say("interrupted; this is what was seen until then")
            options.no_controls = True
            break
        counts.add(done.counts)
        histories += 1
        seen = ", ".join(f"{counts.refreshes[client.name]} of {client.name}" for client in clients)
        least = min((counts.moved(kind), kind) for kind in check.MOVES)
        say(f"history {seed}: {seen}; rarest move {least[1]}: {least[0]}; {time.monotonic() - began:.0f} s")
        if done.problems:
            say("failed; making it smaller ...")
            return counts, histories, check.explain(done, history, seed, server, clients)
    return counts, histories, None


def enough(
    options: argparse.Namespace, counts: check.Counts, clients: Sequence[TufClient], histories: int, began: float
) -> bool:
    """Whether all was seen that was asked for; no longer than three times the refreshes for the sake of moves."""
    if options.seconds and time.monotonic() - began > options.seconds:
        return True
    if options.histories:
        return bool(histories >= options.histories)
    least = min(counts.refreshes[client.name] for client in clients)
    if least < options.refreshes:
        return False
    return options.refreshes < 10_000 or not too_rare(counts) or least >= 3 * options.refreshes


def too_rare(counts: check.Counts) -> list[str]:
    """The kinds of moves that were not seen often enough."""
    return [kind for kind in check.MOVES if counts.moved(kind) < MOVES_MIN]


def run_controls(
    options: argparse.Namespace, server: WebServer, clients: Sequence[TufClient]
) -> dict[str, dict[str, int]]:
    """The same with deliberate faults: how many refreshes there were, and how many of them were refused."""
    found = {}
    for name, mutant in {} if options.no_controls else MUTANTS.items():
        counts = check.Counts()
        for seed in range(options.seed, options.seed + CONTROLS):
            history = steps.draw(seed, LENGTH, WEIGHTS_OF.get(name))
            counts.add(check.run(history, seed, server, clients, mutant=mutant, stop=frozenset()).counts)
        refused = counts.problems["refused"]
        found[name] = {"refreshes": sum(counts.refreshes[c.name] for c in clients) + refused, "refused": refused}
        say(f"control, {name}: {refused} refused")
    return found


def machine(clients: Sequence[TufClient]) -> dict[str, Any]:
    """What it ran on."""
    on = {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "python-tuf": version("tuf"),
    }
    if any(client.name == "tuf-js" for client in clients):
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)  # noqa: S607
        package = json.loads((install_tuf_js() / "node_modules/tuf-js/package.json").read_text())
        on |= {"node": node.stdout.strip(), "tuf-js": package["version"]}
    return on


def as_text(document: dict[str, Any]) -> str:
    """What was found, in Markdown."""
    lines = ["| refreshes | |", "|---|--:|"]
    lines += [f"| {kind} | {n} |" for kind, n in document["refreshes"].items()]
    lines += ["", "| moves between views | all | mid-refresh |", "|---|--:|--:|"]
    lines += [f"| {kind} | {n['all']} | {n['mid_refresh']} |" for kind, n in document["moves"].items()]
    if document["controls"]:
        lines += ["", "| negative control | refreshes | refused |", "|---|--:|--:|"]
        lines += [
            f"| {name} | {found['refreshes']} | {found['refused']} |" for name, found in document["controls"].items()
        ]
    problems = document["problems"] or "none"
    lines += ["", f"{document['histories']} histories from seed {document['seed']}, {document['seconds']} s"]
    lines += [f"problems: {problems}"]
    if document["too_rare"]:
        lines += [f"seen fewer than {MOVES_MIN} times: {', '.join(document['too_rare'])}"]
    return "\n".join(lines)


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
