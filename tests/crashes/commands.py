"""What the writers of a crash round do: a random command, and what the ledger must hold of it, all or nothing.

Nothing of the read side is asked: what may be done next follows from the events themselves.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ledger.store.events import Row
from tests.support import target

TAGS, GROUPS = ("release", "beta"), ("canary", "lab", "field")
NUMBERS, DEVICES = 60, 60  # what a factory begins with
BULK = 6000  # devices of an import whose transaction outgrows SQLite's cache: pages get into the file before the commit
HEADER = "uuid,name,hardware_id,tag,group,production"

# Which events a command of a kind appends in its one transaction.
EVENTS = {
    "init": r"tag\.wave-opened wave\.initialized wave\.signed",
    "sign": r"wave\.signed",
    "group": r"wave\.rolled-out",
    "limit": r"wave\.rolled-out devices\.staged",
    "complete": r"wave\.completed targets\.promoted( targets\.pruned)? tag\.wave-closed",
    "cancel": r"wave\.canceled tag\.wave-closed",
    "import": r"devices\.registered",
    "bulk": r"(devices\.(registered|changed) ?)+",
    "set": r"devices\.changed",
    "report": r"devices\.reported",
    "remove": r"devices\.removed",
    "targets": r"ci-targets\.imported",
    "member": r"member\.added",
    "rebuild": "",
    "publish": "",
    "refresh": "",
}
WEIGHTS = {
    "init": 5,
    "sign": 5,
    "group": 4,
    "limit": 4,
    "complete": 3,
    "cancel": 3,
    "import": 4,
    "set": 3,
    "report": 4,
    "bulk": 0.5,
}
WAVE_KINDS = {"sign", "group", "limit", "complete", "cancel"}
IDLE = {"set", "remove", "rebuild", "publish", "refresh"}  # may find nothing to do, and end well


@dataclass(frozen=True)
class Command:
    """A command line, the kind it is of, and a word that is in one of its events and in no other command's."""

    kind: str
    arguments: tuple[str, ...]
    mark: str

    def problem(self, events: Sequence[Row], *, acknowledged: bool) -> str | None:
        """What is wrong with what the ledger holds of it: all of it, or nothing if that was not acknowledged."""
        own = [row for row in events if row.topic != "metadata.published/1"]  # each one its own transaction
        if not own:
            lost = acknowledged and self.kind not in IDLE
            return f"{self.kind} was acknowledged, and the ledger has nothing of it" if lost else None
        topics = " ".join(row.topic.partition("/")[0] for row in own)
        if not re.fullmatch(EVENTS[self.kind], topics):
            return f"{self.kind} left other events than its own: {topics}"
        if [row.position for row in own] != list(range(own[0].position, own[0].position + len(own))):
            return f"the events of {self.kind} are not in one piece"
        if self.kind == "bulk" and (there := sum(len(json.loads(row.payload)["uuids"]) for row in own)) != BULK:
            return f"{self.kind} left {there} of {BULK} devices"
        if not any(self.mark.encode() in row.payload for row in own):
            return f"{self.kind} left events that are not its own: {self.mark} is in none of them"
        return None


@dataclass
class Known:
    """What may be done next, from the events."""

    waves: dict[str, tuple[str, int]] = field(default_factory=dict)
    active: dict[str, str] = field(default_factory=dict)  # tag: wave
    signatures: dict[str, int] = field(default_factory=dict)
    highest: dict[str, int] = field(default_factory=dict)
    devices: set[str] = field(default_factory=set)

    def take(self, row: Row) -> None:
        """One more event."""
        topic = row.topic.partition("/")[0]
        if topic.startswith(("wave.", "devices.", "ci-targets.imported")):
            getattr(self, "_" + re.sub(r"[.-]", "_", topic), lambda _: None)(json.loads(row.payload))

    def _wave_initialized(self, payload: dict[str, object]) -> None:
        wave, tag, number = str(payload["wave"]), str(payload["tag"]), int(str(payload["number"]))
        self.waves[wave], self.active[tag] = (tag, number), wave

    def _wave_signed(self, payload: dict[str, object]) -> None:
        wave = str(payload["wave"])
        self.signatures[wave] = self.signatures.get(wave, 0) + 1

    def _wave_canceled(self, payload: dict[str, object]) -> None:
        self.active.pop(self.waves[str(payload["wave"])][0], None)

    def _wave_completed(self, payload: dict[str, object]) -> None:
        tag, number = self.waves[str(payload["wave"])]
        self.active.pop(tag, None)
        self.highest[tag] = number

    def _devices_registered(self, payload: dict[str, list[str]]) -> None:
        self.devices |= set(payload["uuids"])

    def _devices_removed(self, payload: dict[str, list[str]]) -> None:
        self.devices -= set(payload["uuids"])


class Writer:
    """One who draws commands; its files lie in the directory that the commands run in."""

    def __init__(self, directory: Path, actor: str, seed: str) -> None:
        self.directory, self.actor = directory, actor
        self.random = random.Random(f"{actor} {seed}")
        self.drawn = 0

    def draw(self, known: Known, kind: str | None = None) -> Command:
        """A command that is likely to be carried out, of any kind if not said."""
        self.drawn += 1
        mark = f"{self.actor}-{self.drawn}"
        kinds = [k for k in EVENTS if known.active or k not in WAVE_KINDS]
        chosen = kind or self.random.choices(kinds, [WEIGHTS.get(k, 1) for k in kinds])[0]
        if chosen in WAVE_KINDS:
            wave = self.random.choice(sorted(known.active.values()))
            # Mostly what comes next; now and then what must be refused.
            if known.signatures.get(wave) == 1 and chosen not in {"sign", "cancel"} and kind is None:
                chosen = "sign"
            return Command(chosen, self._of_wave(chosen, wave), wave)
        arguments = getattr(self, f"_{chosen}")(known, mark)
        return Command(chosen, arguments, arguments[2] if chosen in {"set", "remove"} else mark)

    def _of_wave(self, kind: str, wave: str) -> tuple[str, ...]:
        return {
            "sign": ("waves", "sign", wave, "-k", "keys/targets.only.key.2.tgz"),
            "group": ("waves", "rollout", wave, "--group", self.random.choice(GROUPS)),
            "limit": ("waves", "rollout", wave, "--limit", str(self.random.randint(1, 9))),
            "complete": ("waves", "complete", wave),
            "cancel": ("waves", "cancel", wave),
        }[kind]

    def _init(self, known: Known, mark: str) -> tuple[str, ...]:
        free = [tag for tag in TAGS if tag not in known.active] or TAGS
        tag = self.random.choice(free)
        number = known.highest.get(tag, 0) + self.random.randint(1, 2)
        prune = ("--prune", str(known.highest[tag])) if tag in known.highest and self.random.random() < 0.5 else ()
        return ("waves", "init", mark, str(number), tag, "-k", "keys/targets.only.key.tgz", *prune)

    def _import(self, known: Known, mark: str) -> tuple[str, ...]:
        return ("devices", "import", self._devices([f"{mark}-{n}" for n in range(3)], mark))

    def _bulk(self, known: Known, mark: str) -> tuple[str, ...]:
        return ("devices", "import", self._devices([f"bulk-{n}" for n in range(BULK)], mark))

    def _devices(self, uuids: Sequence[str], mark: str) -> str:
        tag, group = self.random.choice(TAGS), self.random.choice(("", *GROUPS))
        rows = [f"{uuid},{mark},{('arm64', 'amd64')[n % 2]},{tag},{group},true" for n, uuid in enumerate(uuids)]
        return self._write(f"{mark}.csv", "\n".join([HEADER, *rows, ""]))

    def _set(self, known: Known, mark: str) -> tuple[str, ...]:
        uuid = self.random.choice(sorted(known.devices))
        return ("devices", "set", uuid, "--tag", self.random.choice(TAGS), "--group", self.random.choice(GROUPS))

    def _report(self, known: Known, mark: str) -> tuple[str, ...]:
        uuids = self.random.sample(sorted(known.devices), min(20, len(known.devices)))
        rows = [f"{uuid},{mark if n == 0 else 'arm64-lmp-1'}," for n, uuid in enumerate(uuids)]
        return ("devices", "report", self._write(f"{mark}.csv", "\n".join(["uuid,target,seen_at", *rows, ""])))

    def _remove(self, known: Known, mark: str) -> tuple[str, ...]:
        return ("devices", "remove", self.random.choice(sorted(known.devices)))

    def _targets(self, known: Known, mark: str) -> tuple[str, ...]:
        made = target(NUMBERS + self.drawn, name=f"target-{mark}", note=mark)
        text = json.dumps({made.name: made.body})
        return ("targets", "import", self._write(f"{mark}.json", text))

    def _member(self, known: Known, mark: str) -> tuple[str, ...]:
        return ("members", "add", mark, "--role", "admin")

    def _rebuild(self, known: Known, mark: str) -> tuple[str, ...]:
        return ("projections", "rebuild")

    def _publish(self, known: Known, mark: str) -> tuple[str, ...]:
        return ("tuf", "publish")

    def _refresh(self, known: Known, mark: str) -> tuple[str, ...]:
        return ("tuf", "refresh", "--force")

    def _write(self, name: str, text: str) -> str:
        (self.directory / name).write_text(text, encoding="ascii")
        return name
