"""What is refused: with its own message and hint, the documented exit code, and no trace on stdout or in the ledger."""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import KEYS, Result, Waveledger

CANARY = "f6fadfa7-e5c1-4b62-9362-da5cc13da58a"
EAST = "bc67ba94-637d-4efa-a09e-467ada679f81"
BETA = "f1a38d32-6834-4c65-927c-b2382bedda16"
BENCH = "b338afd6-b776-4568-a9ca-4bb956e78ec7"
INIT = ("waves", "init")
ROLLOUT = ("waves", "rollout", "v60")
TUF = ("keys", "tuf")
OFFLINE, ONLINE = (*TUF, "rotate-offline-key", "-r"), (*TUF, "rotate-online-key", "-r")
UPDATES = (*TUF, "updates")
ROOT = ("--keys", "keys/root.keys.tgz")

# id: ledger, arguments, exit code, part of the error, part of the hint
REFUSALS: dict[str, tuple[str, tuple[str, ...], int, str, str]] = {
    # waves init
    "second wave on the tag": (
        "busy", (*INIT, "v99", "58", "release", *KEYS), 3,
        "tag release already has an active wave, v60", "waves cancel v60"),
    "lower number": ("free", (*INIT, "v99", "50", "release", *KEYS), 3, "number 50 is not above 55", "above 55"),
    "the highest number again": (
        "free", (*INIT, "v99", "55", "release", *KEYS), 3, "number 55 is already in production", "without a wave"),
    "an older production number again": (
        "free", (*INIT, "v99", "48", "release", *KEYS), 3, "number 48 is already in production", "without a wave"),
    "unknown number": (
        "free", (*INIT, "v99", "59999", "release", *KEYS), 4, "no CI targets with the number 59999", "targets list"),
    "number that is no number": (
        "free", (*INIT, "v99", "latest", "release", *KEYS), 3, "'latest' is not a target number", "integer"),
    "number zero": ("free", (*INIT, "v99", "0", "release", *KEYS), 3, "'0' is not a target number", "1, 2, 3"),
    "source tag that the number lacks": (
        "free", (*INIT, "v99", "60", "release", *KEYS, "--source-tag", "devel"), 4,
        "has the tag devel; they have main, qa", "--source-tag"),
    "name of a completed wave": (
        "free", (*INIT, "v48", "60", "release", *KEYS), 3, "the wave name v48 was used before", "another name"),
    "name of a canceled wave": (
        "free", (*INIT, "v52", "52", "beta", *KEYS), 3, "the wave name v52 was used before", "another name"),
    "name of an active wave, for another tag": (
        "busy", (*INIT, "v60", "58", "beta", *KEYS), 3, "the wave name v60 was used before", "another name"),
    "wave name with a space": ("free", (*INIT, "v 9", "60", "release", *KEYS), 3, "wave name 'v 9'", "letters"),
    "wave name with 61 characters": ("free", (*INIT, "w" * 61, "60", "release", *KEYS), 3, "wave name", "60"),
    "tag with a slash": ("free", (*INIT, "v99", "60", "../release", *KEYS), 3, "tag name '../release'", "letters"),
    "pruned number not there": (
        "free", (*INIT, "v99", "60", "release", *KEYS, "--prune", "47"), 3,
        "no production targets with the number 47 to prune; it has 48, 55", "targets list --production"),
    "pruned number of nothing": (
        "free", (*INIT, "v99", "60", "beta", *KEYS, "--prune", "48"), 3, "to prune; it has none", "--by-tag beta"),
    "one of two pruned numbers not there": (
        "free", (*INIT, "v99", "60", "release", *KEYS, "--prune", "48,52"), 3, "number 52 to prune", "targets list"),
    "own number pruned": (
        "free", (*INIT, "v99", "60", "release", *KEYS, "--prune", "48", "--prune", "60"), 3,
        "number 60 can't prune 60", "leave 60 out"),
    "expires in the past": (
        "free", (*INIT, "v99", "60", "release", *KEYS, "--expires-at", "2020-01-01T00:00:00Z"), 3,
        "expire at 2020-01-01T00:00:00Z", "--expires-days"),
    "expires in no days": (
        "free", (*INIT, "v99", "60", "release", *KEYS, "--expires-days", "0"), 3, "not in the future", "365"),
    "expires at no time": (
        "free", (*INIT, "v99", "60", "release", *KEYS, "--expires-at", "tomorrow"), 3, "'tomorrow'", "2027-01-31"),
    "expires twice": (
        "free", (*INIT, "v99", "60", "release", *KEYS, "--expires-at", "2030-01-01T00:00:00Z", "-e", "9"), 2,
        "contradict", "--help"),
    # keys
    "missing key file": ("free", (*INIT, "v99", "60", "release", "-k", "gone.tgz"), 8, "no key file gone.tgz", "tgz"),
    "key file is a directory": ("free", (*INIT, "v99", "60", "release", "-k", "keys"), 8, "keys", "key"),
    "wrong key": (
        "free", (*INIT, "v99", "60", "release", "-k", "stranger.tgz"), 8,
        "none of the keys in stranger.tgz is a current offline targets key", "show-root --prod"),
    "root key for targets key": (
        "free", (*INIT, "v99", "60", "release", "-k", "keys/root.keys.tgz"), 8, "none of the keys", "show-root"),
    "online key for offline key": (
        "free", (*INIT, "v99", "60", "release", "-k", "keys/online/production.targets.pem"), 8,
        "none of the keys", "show-root"),
    "damaged archive": (
        "free", (*INIT, "v99", "60", "release", "-k", "damaged.tgz"), 8, "damaged.tgz is not a usable", "backup"),
    "cut-off archive": ("free", (*INIT, "v99", "60", "release", "-k", "cut.tgz"), 8, "cut.tgz is not a", "backup"),
    "archive with the public half only": (
        "free", (*INIT, "v99", "60", "release", "-k", "public.tgz"), 8, "no private key", "private half"),
    "signer that is not supported": (
        "free", (*INIT, "v99", "60", "release", "-k", "carrier-pigeon:coop"), 8, "carrier-pigeon", "file2"),
    "two active keys in one archive": (
        "three", (*INIT, "v99", "60", "release", "-k", "both.tgz"), 8, "more than one current key", "own"),
    # not ready
    "rollout before all signed": (
        "three", ("waves", "rollout", "w", "--group", "canary"), 3,
        "wave w is not ready: it has 1 of 2", "waves sign w"),
    "complete before all signed": ("three", ("waves", "complete", "w"), 3, "wave w is not ready", "waves sign w"),
    "same key twice": ("three", ("waves", "sign", "w", *KEYS), 3, "already has the signature", "another holder"),
    "sign what is ready": ("busy", ("waves", "sign", "v60", *KEYS), 3, "already signed", "waves rollout v60"),
    # ended
    "rollout of a canceled wave": (
        "free", ("waves", "rollout", "v52", "--limit", "5"), 3, "wave v52 is canceled", "under a new name"),
    "complete a canceled wave": ("free", ("waves", "complete", "v52"), 3, "wave v52 is canceled", "new name"),
    "cancel a canceled wave": ("free", ("waves", "cancel", "v52"), 3, "wave v52 is canceled", "new name"),
    "sign a canceled wave": ("free", ("waves", "sign", "v52", *KEYS), 3, "wave v52 is canceled", "new name"),
    "rollout of a completed wave": (
        "free", ("waves", "rollout", "v55", "--limit", "5"), 3, "wave v55 is complete", "--prune 55"),
    "complete a completed wave": ("free", ("waves", "complete", "v55"), 3, "wave v55 is complete", "--prune 55"),
    "cancel a completed wave": ("free", ("waves", "cancel", "v55"), 3, "wave v55 is complete", "--prune 55"),
    "unknown wave rolled out": ("free", ("waves", "rollout", "no", "--limit", "5"), 4, "no wave no", "waves list"),
    "unknown wave completed": ("free", ("waves", "complete", "no"), 4, "there is no wave no", "waves list"),
    "unknown wave canceled": ("free", ("waves", "cancel", "no"), 4, "there is no wave no", "waves list"),
    "unknown wave signed": ("free", ("waves", "sign", "no", *KEYS), 4, "there is no wave no", "waves list"),
    "unknown wave shown": ("free", ("waves", "show", "no"), 4, "there is no wave no", "waves list"),
    "unknown wave's events": ("free", ("audit", "log", "--wave", "no"), 4, "there is no wave no", "waves list"),
    "unknown wave's status": ("free", ("waves", "status", "no"), 4, "there is no wave no", "waves list"),
    "status without an active wave": ("free", ("waves", "status"), 4, "no wave is active", "waves status WAVE"),
    # selection
    "no selection": ("busy", ROLLOUT, 3, "needs a selection", "waves complete v60"),
    "unknown group": ("busy", (*ROLLOUT, "--group", "nowhere"), 4, "no group nowhere", "devices set"),
    "group again": ("busy", (*ROLLOUT, "--group", "canary"), 3, "already rolled out to the whole group", "status"),
    "empty group name": ("busy", (*ROLLOUT, "--group", ""), 3, "group name ''", "letters"),
    "empty uuids": ("busy", (*ROLLOUT, "--uuids", ""), 3, "list of device uuids is empty", "never widened"),
    "only separators": ("busy", (*ROLLOUT, "--uuids", " ,;| ,"), 3, "list of device uuids is empty", "never widened"),
    "empty file": ("busy", (*ROLLOUT, "--uuids", "@empty.txt"), 3, "empty.txt: the list", "never widened"),
    "empty stdin": ("busy", (*ROLLOUT, "--uuids", "-"), 3, "the list of device uuids is empty", "never widened"),
    "group and empty file": (
        "busy", (*ROLLOUT, "--group", "us-east", "--uuids", "@empty.txt"), 3, "empty.txt: the list", "never widened"),
    "file not there": ("busy", (*ROLLOUT, "--uuids", "@gone.txt"), 4, "gone.txt: no such file", "path"),
    "limit 0": ("busy", (*ROLLOUT, "--limit", "0"), 3, "a limit of 0 selects no device", "at least 1"),
    "limit 0%": ("busy", (*ROLLOUT, "--limit", "0%"), 3, "a limit of 0% selects no device", "at least 1"),
    "limit 101%": ("busy", (*ROLLOUT, "--limit", "101%"), 3, "101% is more than all", "1% to 100%"),
    "limit -1": ("busy", (*ROLLOUT, "--limit", "-1"), 3, "can't be negative: -1", "at least 1"),
    "limit -1%": ("busy", (*ROLLOUT, "--limit", "-1%"), 3, "can't be negative: -1%", "at least 1"),
    "limit abc": ("busy", (*ROLLOUT, "--limit", "abc"), 3, "'abc' is neither", "--limit 10%"),
    "limit of nothing": ("busy", (*ROLLOUT, "--limit", ""), 3, "'' is neither", "--limit 10%"),
    "limit 2.5%": ("busy", (*ROLLOUT, "--limit", "2.5%"), 3, "'2.5%' is neither", "--limit 10%"),
    "limit in Arabic digits": ("busy", (*ROLLOUT, "--limit", "\u0665"), 3, "is neither", "--limit 10%"),
    "limit 0 of a group": ("busy", (*ROLLOUT, "-g", "us-east", "-l", "0"), 3, "selects no device", "at least 1"),
    "uuid of another tag": (
        "busy", (*ROLLOUT, "--uuids", f"{EAST},{BETA}"), 3, f"1 of the listed devices can't be reached: {BETA}", "set"),
    "uuid of a test device": ("busy", (*ROLLOUT, "--uuids", BENCH), 3, BENCH, "devices set"),
    "uuid outside the group": ("busy", (*ROLLOUT, "-g", "us-west", "--uuids", EAST), 3, EAST, "devices set"),
    "unknown uuid": ("busy", (*ROLLOUT, "--uuids", f"{EAST},nobody"), 3, "nobody", "devices set"),
    "several bad uuids": (
        "busy", (*ROLLOUT, "--uuids", f"{BENCH},{BETA},nobody"), 3, "3 of the listed devices", "devices set"),
    "uuid with 61 characters": ("busy", (*ROLLOUT, "--uuids", "u" * 61), 3, "is not allowed", "60"),
    "nobody left": ("busy", (*ROLLOUT, "-g", "canary", "-l", "50%"), 3, "no candidate left", "status v60"),
    "-o without --dry-run": ("busy", (*ROLLOUT, "-l", "1", "-o", "plan.json"), 2, "-o goes with --dry-run", "--help"),
    "plan and selection": (
        "busy", (*ROLLOUT, "--plan", "other.json", "-l", "1"), 2, "--plan is the selection", "--help"),
    "plan of another wave": ("busy", (*ROLLOUT, "--plan", "other.json"), 3, "made for wave v48, not for v60", "-o"),
    "plan that isn't there": ("busy", (*ROLLOUT, "--plan", "gone.json"), 3, "gone.json", "-o PLAN.json"),
    "plan that is no plan": ("busy", (*ROLLOUT, "--plan", "empty.txt"), 3, "not a rollout plan", "-o PLAN.json"),
    "plan that was edited": ("busy", (*ROLLOUT, "--plan", "edited.json"), 3, "not a rollout plan", "-o PLAN.json"),
    # people
    "non-member inits": (
        "free", ("--actor", "mallory", *INIT, "v99", "60", "release", *KEYS), 3, "mallory is not a member",
        "members add"),
    "non-member rolls out": (
        "busy", ("--actor", "mallory", *ROLLOUT, "-l", "1"), 3, "mallory is not a member", "--actor"),
    "non-member completes": (
        "busy", ("--actor", "mallory", "waves", "complete", "v60"), 3, "mallory is not", "--actor"),
    "non-member cancels": ("busy", ("--actor", "mallory", "waves", "cancel", "v60"), 3, "mallory is not", "--actor"),
    "non-member signs": ("three", ("--actor", "mallory", "waves", "sign", "w", *KEYS), 3, "mallory is not", "--actor"),
    "non-member adds": (
        "free", ("--actor", "mallory", "members", "add", "mallory", "--role", "owner"), 3, "mallory", "owner"),
    "admin adds": ("free", ("--actor", "bob", "members", "add", "eve", "--role", "admin"), 3, "only owners", "owner"),
    "last owner leaves": ("free", ("members", "remove", "alice"), 3, "alice is the last owner", "members add"),
    "unknown member leaves": ("free", ("members", "remove", "eve"), 4, "eve is not a member", "members list"),
    "unknown role": ("free", ("members", "add", "eve", "--role", "king"), 3, "'king' is not a role", "owner and admin"),
    # keys for a working life
    "renewed with another key": (
        "free", (*TUF, "renew-root", *KEYS), 8, "keys/targets.only.key.tgz is a current offline root key",
        "show-root --prod"),
    "renewed for less": (
        "free", (*TUF, "renew-root", *ROOT, "--expires-days", "10"), 3, "the root would expire at", "--expires-days N"),
    "renewed by a non-member": (
        "free", ("--actor", "mallory", *TUF, "renew-root", *ROOT, "--expires-days", "500"), 3, "mallory is not",
        "members add"),
    "renewed with a missing key": (
        "free", (*TUF, "renew-root", "--keys", "gone.tgz"), 8, "there is no key file gone.tgz", "archive"),
    "targets key rotated to nowhere": (
        "free", (*OFFLINE, "targets", *ROOT), 2, "--role targets needs --targets-keys NEW", "--help"),
    "root key rotated with targets keys": (
        "free", (*OFFLINE, "root", *ROOT, "-K", "new.tgz"), 2, "go with --role targets", "--help"),
    "targets key rotated with new root keys": (
        "free", (*OFFLINE, "targets", *ROOT, "--new-keys", "new.tgz"), 2, "--new-keys goes with --role root", "--help"),
    "targets key rotated with a stranger's": (
        "free", (*OFFLINE, "targets", *ROOT, "-K", "new.tgz", "--old-targets-keys", "stranger.tgz"), 8,
        "none of the keys in stranger.tgz is a current offline targets key", "show-root"),
    "targets key rotated with the online one": (
        "free",
        (*OFFLINE, "targets", *ROOT, "-K", "new.tgz", "--old-targets-keys", "keys/online/production.targets.pem"), 8,
        "is a current offline targets key", "show-root"),
    "rotated to a key of old": (
        "free", (*OFFLINE, "targets", *ROOT, "-K", "file2:keys/root.keys.tgz"), 3,
        "is or was a key of this factory", "make a new key"),
    "replaced key not there": (
        "free", (*OFFLINE, "targets", *ROOT, "-K", "new.tgz", "--replace", "ab" * 32), 4,
        "is not an offline targets key of the root", "show-root --prod"),
    "which one of three": (
        "three", (*OFFLINE, "targets", *ROOT, "-K", "new.tgz"), 2, "names 0 of the 2 current targets keys", "--help"),
    "both of two": (
        "three",
        (*OFFLINE, "targets", *ROOT, "-K", "new.tgz", "--old-targets-keys", "keys/targets.only.key.tgz",
         "--old-targets-keys", "keys/targets.only.key.2.tgz"), 2, "say with --replace KEYID", "--help"),
    "new key into another holder's archive": (
        "three",
        (*OFFLINE, "targets", *ROOT, "-K", "keys/targets.only.key.2.tgz", "--old-targets-keys",
         "keys/targets.only.key.tgz"), 2, "say with --replace KEYID", "--help"),
    "rotated with too few holders": (
        "free_of_three",
        (*OFFLINE, "targets", *ROOT, "-K", "new.tgz", "--old-targets-keys", "keys/targets.only.key.tgz"), 3,
        "tag:release needs 2 offline signatures, and the given keys make 1", "another holder"),
    "online key without a root key": ("free", (*ONLINE, "timestamp"), 2, "--keys is missing", "--help"),
    "online root key of production": ("free", (*ONLINE, "root", *ROOT), 2, "use rotate-offline-key", "--help"),
    "CI key with a root key": ("free", (*ONLINE, "root", "--ci", *ROOT), 2, "--ci goes without --keys", "--help"),
    "online targets key without a holder": (
        "free", (*ONLINE, "targets", *ROOT), 3, "tag:release needs 1 offline signatures, and the given keys make 0",
        "another holder"),
    "timestamp key with targets keys": (
        "free", (*ONLINE, "timestamp", *ROOT, "-K", "keys/targets.only.key.tgz"), 2, "goes with --role targets",
        "--help"),
    "the ledger's key for an online one": (
        "free", (*ONLINE, "timestamp", *ROOT, "--new-key", "keys/online/ledger.pem"), 3,
        "is or was a key of this factory", "make a new key"),
    "the ledger's key for CI's root": (
        "free", (*ONLINE, "root", "--ci", "--new-key", "keys/online/ledger.pem"), 3,
        "is or was a key of this factory", "make a new key"),
    "an offline key for an online one": (
        "free", (*ONLINE, "timestamp", *ROOT, "--new-key", "keys/targets.only.key.tgz"), 3,
        "is or was a key of this factory", "make a new key"),
    "CI's key for production's": (
        "free", (*ONLINE, "timestamp", *ROOT, "--new-key", "keys/online/ci.timestamp.pem"), 3,
        "is or was a key of this factory", "make a new key"),
    "no update to review": ("free", (*UPDATES, "review"), 4, "there is no update of the root", "updates init"),
    "no update to sign": ("free", (*UPDATES, "sign", *ROOT), 4, "there is no update of the root", "updates init"),
    "no update to apply": ("free", (*UPDATES, "apply"), 4, "there is no update of the root", "updates init"),
    "no update to cancel": ("free", (*UPDATES, "cancel"), 4, "there is no update of the root", "updates init"),
    "no update to add to": (
        "free", (*UPDATES, "add-offline-key", "-r", "targets", "-k", "new.tgz"), 4, "no update of the root",
        "updates init"),
    "second update": ("open", (*UPDATES, "init"), 3, "update 1 of the root is open", "updates cancel"),
    "rotated beside an update": (
        "open", (*OFFLINE, "root", *ROOT), 3, "update 1 of the root is open", "updates review"),
    "renewed beside an update": (
        "open", (*TUF, "renew-root", *ROOT, "--expires-days", "500"), 3, "update 1 of the root is open", "updates"),
    "an update of nothing": ("open", (*UPDATES, "apply"), 3, "changes nothing yet", "set-threshold"),
    "nothing to sign": ("open", (*UPDATES, "sign-prod-targets", *KEYS), 3, "no production targets need", "review"),
    "signed with a targets key": (
        "open", (*UPDATES, "sign", *KEYS), 8, "is a current offline root key", "show-root --prod"),
    "removed without a name": (
        "open", (*UPDATES, "remove-offline-key", "-r", "targets"), 2, "name the key", "--help"),
    "removed a stranger": (
        "open", (*UPDATES, "remove-offline-key", "-r", "targets", "-k", "stranger.tgz"), 4,
        "stranger.tgz is not an offline targets key", "show-root"),
    "removed the online key": (
        "open", (*UPDATES, "remove-offline-key", "-r", "targets", "-k", "keys/online/production.targets.pem"), 4,
        "is not an offline targets key", "show-root"),
    "added one's own again": (
        "open", (*UPDATES, "add-offline-key", "-r", "targets", *KEYS), 3,
        "holds a current targets key", "does not exist yet"),
    "added a machine's key": (
        "open", (*UPDATES, "add-offline-key", "-r", "targets", "-k", "public-ci.json"), 3,
        "is or was a key of this factory", "make a new key"),
    "signed an update that can't be": (
        "impossible", (*UPDATES, "sign", *ROOT), 8, "the targets role cannot have threshold 9 with 2 keys",
        "set another threshold"),
    "applied an update that can't be": (
        "impossible", (*UPDATES, "apply"), 8, "the targets role cannot have threshold 9", "set another threshold"),
    "update without a root key's signature": (
        "unsigned", (*UPDATES, "apply"), 8, "has 0 valid signatures and needs 1", "own key"),
    "resigned without a key": ("free", ("targets", "resign", "release"), 2, "--keys is missing", "--help"),
    "resigned nothing": (
        "free", ("targets", "resign", "nightly", *KEYS), 4, "nightly has no live documents", "waves list"),
    "resigned a wave that is gone": (
        "free", ("targets", "resign", "v52", *KEYS), 4, "v52 has no live documents", "waves list"),
    "resigned for the past": (
        "free", ("targets", "resign", "release", *KEYS, "--expires-at", "2020-01-01T00:00:00Z"), 3,
        "expire at 2020-01-01T00:00:00Z", "--expires-days"),
    "resigned with a stranger's key": (
        "free", ("targets", "resign", "release", "-k", "stranger.tgz"), 8, "stranger.tgz", "show-root --prod"),
    "resigned by too few": (
        "free_of_three", ("targets", "resign", "release", *KEYS), 3,
        "tag:release needs 2 offline signatures, and the given keys make 1", "another holder"),
    "resigned by one twice": (
        "free_of_three", ("targets", "resign", "release", *KEYS, *KEYS), 3, "the given keys make 1", "another holder"),
    "resigned by a non-member": (
        "free", ("--actor", "mallory", "targets", "resign", "release", *KEYS), 3, "mallory is not a member", "--actor"),
    "a wave above": (
        "busy", ("targets", "resign", "v60", *KEYS, "--above", "empty"), 3, "v60 is a wave of tag release",
        "tag:release"),
    "above nothing": (
        "free", ("targets", "resign", "release", *KEYS, "--above", "empty"), 4, "empty", ""),
    "CI's above nothing": ("free", ("targets", "resign", "ci/main", "--above", "empty"), 4, "empty", ""),
    "CI's with a key": ("free", ("targets", "resign", "ci/main", *KEYS), 2, "signed online", "--help"),
    "CI's of no tag": ("free", ("targets", "resign", "ci/", "--above", "empty"), 3, "tag", "name"),
    "CI's without a place": ("free", ("targets", "resign", "ci/main"), 2, "needs --above", "--help"),
    # others
    "second init": ("free", ("init", "--factory", "acme"), 7, "already is a ledger", "--store"),
    "init over keys": (
        "free", ("--store", "sqlite:///new.db", "init", "--factory", "b"), 8, "never overwritten", "move"),
    "unknown device shown": ("free", ("devices", "show", "nobody"), 4, "no device 'nobody'", "devices list"),
    "unknown device set": ("free", ("devices", "set", CANARY, "nobody", "--tag", "beta"), 4, "nobody", "devices list"),
    "unknown device removed": ("free", ("devices", "remove", "nobody"), 4, "nobody", "devices list"),
    "nothing set": ("free", ("devices", "set", CANARY), 2, "nothing to set", "--help"),
    "unknown target shown": ("free", ("targets", "show", "59999"), 4, "number 59999", "targets list"),
    "event not there": ("free", ("audit", "show", "99999"), 4, "no position 99999", "audit log"),
    "root not there": (
        "free", ("keys", "tuf", "show-root", "--version", "9"), 4, "no version 9 of the ci root", "newest"),
    "unknown projection": ("free", ("projections", "verify", "dreams"), 4, "no projection 'dreams'", "releases"),
    "published nowhere": ("free", ("tuf", "publish"), 2, "where to publish to is not said", "WAVELEDGER_PUBLISH"),
    "nothing verified": ("free", ("tuf", "verify", "keys"), 6, "problems found in keys", "waveledger tuf"),
    "nothing there to verify": ("free", ("tuf", "verify", "nowhere"), 4, "published at nowhere", "tuf publish"),
    "nothing to export": ("free", ("tuf", "export", "nope", "usb"), 4, "no wave, tag or view 'nope'", "waves list"),
    "complete wave exported": ("free", ("tuf", "export", "v48", "usb"), 3, "v48 has no view", "tuf export release"),
    "export over it": ("free", ("tuf", "export", "release", "keys"), 3, "not an empty directory", "overwrites"),
}  # fmt: skip


def archive_with(*members: tuple[str, bytes]) -> bytes:
    """A tgz."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def members_of(path: Path) -> list[tuple[str, bytes]]:
    """The files in a tgz."""
    with tarfile.open(path) as archive:
        return [(m.name, archive.extractfile(m).read()) for m in archive.getmembers() if m.isfile()]  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def stages(
    imported: Callable[..., Waveledger], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Waveledger]:
    """Ledgers to be refused by: no wave active, one active, one not ready. Refusals leave them as they are."""
    place = tmp_path_factory.mktemp("stages")
    made: dict[str, Waveledger] = {}

    def stage(name: str) -> Waveledger:
        if name not in made:
            stories = {"free": free, "busy": busy, "three": three, "free_of_three": free_of_three, **updates}
            made[name] = stories[name]()
        return made[name]

    def free() -> Waveledger:
        shell = imported("acme").copy(place / "free")
        shell.do("members", "add", "bob", "--role", "admin")
        shell.do("waves", "init", "v48", "48", "release", *KEYS)
        shell.do("waves", "rollout", "v48", "-l", "3", "--dry-run", "-o", "other.json")
        shell.do("waves", "complete", "v48")
        shell.do("waves", "init", "v52", "52", "release", *KEYS)
        shell.do("waves", "cancel", "v52")
        shell.do("waves", "init", "v55", "55", "release", *KEYS)
        shell.do("waves", "complete", "v55")
        key = (shell.cwd / "keys/targets.only.key.tgz").read_bytes()
        (shell.cwd / "damaged.tgz").write_bytes(b"\x1f\x8b" + bytes(200))
        (shell.cwd / "cut.tgz").write_bytes(key[: len(key) // 2])
        public = [m for m in members_of(shell.cwd / "keys/targets.only.key.tgz") if m[0].endswith(".pub")]
        (shell.cwd / "public.tgz").write_bytes(archive_with(*public))
        stranger = Waveledger(place / "stranger")
        stranger.cwd.mkdir()
        stranger.do("init", "--factory", "stranger")
        shutil.copy(stranger.cwd / "keys/targets.only.key.tgz", shell.cwd / "stranger.tgz")
        return shell

    def busy() -> Waveledger:
        shell = stage("free").copy(place / "busy")
        shell.do("waves", "init", "v60", "60", "release", *KEYS)
        shell.do("waves", "rollout", "v60", "--group", "canary")
        (shell.cwd / "empty.txt").write_text(" \n\n")
        shell.do("waves", "rollout", "v60", "-l", "3", "--dry-run", "-o", "plan.json")
        plan = json.loads((shell.cwd / "plan.json").read_text())
        plan["devices"].append(EAST if EAST not in plan["devices"] else BETA)
        (shell.cwd / "edited.json").write_text(json.dumps(plan))
        (shell.cwd / "plan.json").unlink()
        return shell

    def three() -> Waveledger:
        options = ("--offline-key", "ed25519", "--offline-key", "ed25519", "--threshold", "3")
        shell = imported("acme", *options).copy(place / "three")
        shell.do("waves", "init", "w", "50", "release", *KEYS)
        keys = [m for n in ("", ".2") for m in members_of(shell.cwd / f"keys/targets.only.key{n}.tgz")]
        (shell.cwd / "both.tgz").write_bytes(archive_with(*keys))
        return shell

    def free_of_three() -> Waveledger:
        shell = stage("three").copy(place / "free_of_three")
        shell.do("waves", "sign", "w", "-k", "keys/targets.only.key.2.tgz")
        shell.do("waves", "complete", "w")
        return shell

    updates = {
        "open": lambda: with_update(stage("free").copy(place / "open")),
        "impossible": lambda: with_update(
            stage("free").copy(place / "impossible"), ("set-threshold", "-r", "targets", "9")
        ),
        "unsigned": lambda: with_update(
            stage("free").copy(place / "unsigned"), ("add-offline-key", "-r", "root", "-k", "more.tgz")
        ),
    }
    return stage


def with_update(shell: Waveledger, *steps: tuple[str, ...]) -> Waveledger:
    """A ledger with an open update of the root, and a public key of CI's."""
    ci = json.loads(shell.do(*TUF, "show-root", "-f", "json").out)["signed"]
    (shell.cwd / "public-ci.json").write_text(json.dumps(ci["keys"][ci["roles"]["targets"]["keyids"][0]]))
    for step in (("init",), *steps):
        shell.do(*UPDATES, *step)
    return shell


def assert_refused(result: Result, code: int, error: str, hint: str) -> None:
    """One error, one hint, nothing else anywhere."""
    assert (result.rc, result.out) == (code, ""), result
    lines = result.err.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["error", "hint"], result.err
    assert error in lines[0]
    assert hint in lines[1]
    assert not re.search(r"\{[a-z_]*\}", result.err), "a template that was not filled in"


@pytest.mark.parametrize("case", REFUSALS)
def test_refused(stages: Callable[[str], Waveledger], case: str) -> None:
    """Refused with its error, hint and exit code; the ledger's position and root are as before."""
    stage, args, code, error, hint = REFUSALS[case]
    shell = stages(stage)
    before, files = shell.head(), sorted(shell.cwd.rglob("*"))
    result = shell.quick(*args)
    if args[:2] == ("tuf", "verify"):  # a check prints its findings
        result = Result(args, result.rc, "", result.err)
    assert_refused(result, code, error, hint)
    assert shell.head() == before
    assert sorted(shell.cwd.rglob("*")) == files


@pytest.mark.parametrize(
    "case", ["second wave on the tag", "wrong key", "unknown group", "limit -1", "non-member inits", "damaged archive"]
)
def test_refused_as_a_process(stages: Callable[[str], Waveledger], case: str) -> None:
    """A process ends in the same way."""
    stage, args, code, error, hint = REFUSALS[case]
    shell = stages(stage)
    before = shell.head()
    assert_refused(shell.run(*args), code, error, hint)
    assert shell.head() == before


@pytest.mark.parametrize(
    "args", [("status",), ("waves", "complete", "v1"), ("devices", "import", "-"), ("audit", "log")]
)
def test_without_a_ledger(shell: Waveledger, args: tuple[str, ...]) -> None:
    """Without a ledger, exit 7 and a hint to create one; no file is left behind."""
    header = "uuid,name,hardware_id,tag,group,production\n"
    result = shell.quick(*args, stdin=header + "u,n,h,t,g,true\n")
    assert_refused(result, 7, f"there is no ledger at {shell.store_url}", "waveledger init")
    assert [path.name for path in shell.cwd.iterdir()] == ["home"]


@pytest.mark.parametrize(
    "url", ["nonsense", "mysql://localhost/x", "sqlite://", "sqlite:///:memory:", "sqlite:////no/such/dir/x.db", "://"]
)
@pytest.mark.parametrize("args", [("status",), ("init", "--factory", "acme")])
def test_bad_store_url(shell: Waveledger, url: str, args: tuple[str, ...]) -> None:
    """A store that cannot be: exit 7, and no key is written."""
    result = shell.quick("--store", url, *args)
    assert_refused(result, 7, "", "")
    assert [path.name for path in shell.cwd.iterdir()] == ["home"]


def test_a_plan_commits_exactly_its_devices(stages: Callable[[str], Waveledger], tmp_path: Path) -> None:
    """What --dry-run -o wrote is what --plan commits; the dry run itself changes nothing."""
    shell = stages("busy").copy(tmp_path / "copy")
    before = shell.head()
    dry = shell.ok(
        "waves", "rollout", "v60", "-l", "40%", "--dry-run", "-o", "plan.json", "--print-uuids", "-f", "json"
    )
    assert shell.head() == before
    planned = json.loads((shell.cwd / "plan.json").read_text())
    assert planned["devices"] == dry.json["uuids"]
    assert len(planned["devices"]) == 12  # 40 % of the 29 on the tag, rounded up; three of those have it already
    shell.do("devices", "set", EAST, "--group", "eu-emea")  # something else happens in between
    done = shell.json("waves", "rollout", "v60", "--plan", "plan.json", "--print-uuids")
    assert done["uuids"] == planned["devices"]
    assert done["plan"] == planned["plan"] == dry.json["plan"]
    rollouts = shell.ask("waves", "show", "v60")["rollouts"]
    assert rollouts[-1]["plan"] == done["plan"]
    assert [rollout["planned"] for rollout in rollouts] == [*[False] * (len(rollouts) - 1), True]
    told = shell.ask("devices", "list", "--tag", "release", "--production")["devices"]
    inside = {d["uuid"] for d in told if d["eligible"]["view"] == "wave/v60"}
    assert {d["uuid"] for d in told if d["group"] == "canary"} < inside
    assert inside == set(planned["devices"]) | {d["uuid"] for d in told if d["group"] == "canary"}


def test_a_stale_plan(stages: Callable[[str], Waveledger], tmp_path: Path) -> None:
    """A plan whose devices changed is refused as a lost race, exit 5, and each device that changed is named."""
    shell = stages("busy").copy(tmp_path / "copy")
    shell.do("waves", "rollout", "v60", "-l", "5", "--dry-run", "-o", "plan.json")
    first, second, third, *_ = json.loads((shell.cwd / "plan.json").read_text())["devices"]
    shell.do("devices", "set", first, "--tag", "beta")
    shell.do("devices", "remove", second)
    shell.do("waves", "rollout", "v60", "--uuids", third)
    before = shell.head()
    result = shell.quick("waves", "rollout", "v60", "--plan", "plan.json")
    assert_refused(result, 5, "3 devices of the plan no longer qualify", "new plan")
    assert first in result.err
    assert second in result.err
    assert third in result.err
    assert shell.head() == before


def test_an_empty_group_is_allowed(stages: Callable[[str], Waveledger], tmp_path: Path) -> None:
    """A group that all devices left is rolled out to with a warning, and who joins it gets the wave."""
    shell = stages("busy").copy(tmp_path / "copy")
    shell.do("devices", "set", EAST, "--group", "fleeting")
    shell.do("devices", "set", EAST, "--no-group")
    result = shell.do("waves", "rollout", "v60", "--group", "fleeting")
    assert "warning: group fleeting has no device now" in result.err
    shell.do("devices", "set", EAST, "--group", "fleeting")
    assert shell.ask("devices", "show", EAST)["eligible"]["view"] == "wave/v60"


def test_duplicates_collapse_and_members_are_skipped(stages: Callable[[str], Waveledger], tmp_path: Path) -> None:
    """A uuid that is listed twice counts once; one that is in the wave already is skipped and counted."""
    shell = stages("busy").copy(tmp_path / "copy")
    answer = shell.ask("waves", "rollout", "v60", "--print-uuids", "--uuids", f"{EAST},{EAST};{CANARY} {EAST}")
    assert (answer["devices"], answer["skipped"], answer["uuids"]) == (1, 1, [EAST])


def test_a_canceled_number_under_a_new_name(stages: Callable[[str], Waveledger], tmp_path: Path) -> None:
    """A canceled number may be waved again; a wave that is not ready may be canceled."""
    shell = stages("free").copy(tmp_path / "free")
    shell.do("waves", "init", "v52-again", "52", "beta", *KEYS)
    unready = stages("three").copy(tmp_path / "three")
    unready.do("waves", "cancel", "w")
    assert unready.ask("waves", "show", "w")["status"] == "canceled"
