"""The rules of one wave (DESIGN §2: sign, rollout, complete, cancel)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ledger.domain import wave
from ledger.domain.events import (
    Document,
    KeySignatures,
    Recovery,
    Selector,
    TargetsPromoted,
    TargetsPruned,
    WaveCanceled,
    WaveClosed,
    WaveCompleted,
    WaveHoldersChanged,
    WaveInitialized,
    WaveResigned,
    WaveRolledOut,
    WaveSigned,
)
from ledger.domain.transition import IllegalEvent
from ledger.domain.wave import (
    ActiveWave,
    AlreadySigned,
    CanceledWave,
    CompleteWave,
    WaveAlreadyReady,
    WaveExpired,
    WaveIsCanceled,
    WaveIsComplete,
    WaveNotReady,
)

EXPIRES = datetime(2027, 11, 23, tzinfo=UTC)
LATER = datetime(2028, 2, 1, tzinfo=UTC)
OWN = Document("wave/v60", 7000, EXPIRES, None, "{}")
BACK = Document("production/release", 8000, LATER, "v48", None)
INIT = WaveInitialized("v60", "release", 60, None, (48,), ("a-60",), EXPIRES, 1, 2, (OWN, BACK))
INIT3 = replace(INIT, threshold=3)
SIGNED = WaveSigned("v60", "key1", ("s1", "s2"))
SIGNED2 = WaveSigned("v60", "key2", ("s1", "s2"))
OWN_HELD = Recovery("held/v60", 7000, EXPIRES, "v60")
ANEW = (Document("wave/v60", 7001, LATER, "v60", None), replace(BACK, version=8001))
RESIGNED = WaveResigned("v60", 2, 2, ANEW, (KeySignatures("key9", ("s1", "s2")),), ())
CANARY = Selector("canary", None, None)
BOTH = (KeySignatures("key1", ("s1", "s2")), KeySignatures("key2", ("s1", "s2")))
ROLLED = WaveRolledOut("v60", 1, CANARY, True, 3, 0, "digest", None)
COMPLETED = WaveCompleted("v60")
CANCELED = WaveCanceled("v60", "battery drain")
DELIVERY = {"full_group": True, "devices": 3, "skipped": 0, "digest": "digest", "plan": None}


@pytest.fixture
def given(scenario):
    return scenario(wave.evolve, None)


def test_an_offline_signature_is_recorded(given):
    """Sign adds an offline signature, one for each document."""
    given(INIT).when(wave.sign, "key1", ("s1", "s2")).then(SIGNED)


@pytest.mark.parametrize("threshold", [2, 3, 4, 10])
def test_a_wave_is_ready_with_threshold_minus_one_signatures(given, threshold):
    """(threshold - 1) offline signatures make a wave ready; the online one is added at publication."""
    init = replace(INIT, threshold=threshold)
    signatures = [replace(SIGNED, keyid=f"key{i}") for i in range(threshold - 1)]

    assert not given(init, *signatures[:-1]).state.ready
    assert given(init, *signatures).state.ready


def test_once_ready_sign_is_refused(given):
    """More signatures would change nothing."""
    given(INIT, SIGNED).when(wave.sign, "key2", ("s1", "s2")).refused(WaveAlreadyReady, wave="v60", need=1)


def test_once_ready_the_same_key_is_sent_on_to_rollout(given):
    """A ready wave asks for no other holder's key, whoever tries to sign it."""
    given(INIT, SIGNED).when(wave.sign, "key1", ("s1", "s2")).refused(WaveAlreadyReady, wave="v60", need=1)


def test_the_same_key_twice_is_not_two_signatures(given):
    """A threshold of three takes two holders."""
    given(INIT3, SIGNED).when(wave.sign, "key1", ("s1", "s2")).refused(AlreadySigned, wave="v60", keyid="key1")


@pytest.mark.parametrize("signatures", [(), ("s1",), ("s1", "s2", "s3")])
def test_a_signature_for_each_document(given, signatures):
    """Signing some of the documents is a mistake of the program, not of the user."""
    with pytest.raises(RuntimeError, match="each document"):
        given(INIT).when(wave.sign, "key1", signatures)


def test_a_ready_wave_is_rolled_out(given):
    """A rollout is recorded with its selector, count and digest, and numbered."""
    given(INIT, SIGNED).when(wave.roll_out, CANARY, **DELIVERY).then(ROLLED)


def test_rollout_is_repeatable(given):
    """The second rollout is number 2."""
    given(INIT, SIGNED, ROLLED).when(wave.roll_out, CANARY, **DELIVERY).then(replace(ROLLED, rollout=2))


@pytest.mark.parametrize("command", [(wave.roll_out, CANARY), (wave.complete, ())], ids=["rollout", "complete"])
def test_a_wave_that_is_not_ready_is_neither_rolled_out_nor_completed(given, command):
    """Signatures are missing: says how many there are and how many it needs."""
    decide, argument = command
    named = DELIVERY if decide is wave.roll_out else {}

    given(INIT3, SIGNED).when(decide, argument, **named).refused(WaveNotReady, wave="v60", have=1, need=2)


def test_a_wave_that_is_not_ready_can_be_canceled(given):
    """Cancel needs no signature."""
    given(INIT3, SIGNED).when(wave.cancel, None).then(
        WaveCanceled("v60", None), WaveClosed("release", "v60", "canceled", ())
    )


def test_complete_promotes_prunes_and_frees_the_tag(given):
    """Complete makes the wave's document production, prunes included."""
    given(INIT, SIGNED).when(wave.complete, ("a-48", "b-48")).then(
        COMPLETED,
        TargetsPromoted("release", "v60", 60, 7000, EXPIRES),
        TargetsPruned("release", "v60", (48,), ("a-48", "b-48")),
        WaveClosed("release", "v60", "complete", ()),
    )


def test_complete_without_prune_prunes_nothing(given):
    """No event says that nothing happened."""
    given(replace(INIT, prune=()), SIGNED).when(wave.complete, ()).then(
        COMPLETED,
        TargetsPromoted("release", "v60", 60, 7000, EXPIRES),
        WaveClosed("release", "v60", "complete", ()),
    )


def test_complete_needs_no_rollout(given):
    """A rollout is optional: before and after one, complete comes to the same."""
    assert given(INIT, SIGNED).when(wave.complete, ()) == given(INIT, SIGNED, ROLLED).when(wave.complete, ())


def test_cancel_after_a_rollout_brings_the_recovery_documents(given):
    """Each recovery document becomes its view's document."""
    given(INIT, SIGNED, ROLLED).when(wave.cancel, "battery drain").then(
        CANCELED,
        WaveClosed("release", "v60", "canceled", (OWN_HELD, Recovery("production/release", 8000, LATER, "v48"))),
    )


def test_cancel_of_a_wave_never_rolled_out_discards_them(given):
    """Nobody saw the wave, so nobody has to come back from it."""
    given(INIT, SIGNED).when(wave.cancel, "battery drain").then(CANCELED, WaveClosed("release", "v60", "canceled", ()))


COMMANDS = {
    "sign": (wave.sign, ("key2", ("s1", "s2")), {}),
    "rollout": (wave.roll_out, (CANARY,), DELIVERY),
    "complete": (wave.complete, ((),), {}),
    "cancel": (wave.cancel, (None,), {}),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_completed_wave_stays_completed(given, command):
    """It can't be signed, rolled out, completed or canceled; its target leaves by a later wave with --prune."""
    decide, arguments, named = COMMANDS[command]

    outcome = given(INIT, SIGNED, COMPLETED).when(decide, *arguments, **named)

    outcome.refused(WaveIsComplete, wave="v60", number=60)
    assert "--prune 60" in outcome.error.render_hint()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_canceled_wave_stays_canceled(given, command):
    """It can't be signed, rolled out, completed or canceled again; its number may be waved under a new name."""
    decide, arguments, named = COMMANDS[command]

    outcome = given(INIT, SIGNED, ROLLED, CANCELED).when(decide, *arguments, **named)

    outcome.refused(WaveIsCanceled, wave="v60", number=60, tag="release")
    assert "60 release" in outcome.error.render_hint()


def test_evolve_keeps_what_later_decisions_need(given):
    """Signatures in their order, the number of rollouts, the reason of a cancel."""
    assert given(INIT3, SIGNED, SIGNED2, ROLLED).state == ActiveWave(INIT3, (OWN, BACK), 3, BOTH, 1)
    assert given(INIT, SIGNED, COMPLETED).state == CompleteWave(INIT, BOTH[:1])
    assert given(INIT, CANCELED).state == CanceledWave(INIT, (), "battery drain")


def test_a_wave_signed_anew_is_delivered_as_it_was_signed_last(given):
    """Complete promotes the new version, cancel brings the new recovery; who signed and the threshold are new, too."""
    anew = given(INIT3, SIGNED, RESIGNED, ROLLED)

    assert anew.state.ready
    assert anew.state.signed == RESIGNED.signers
    anew.when(wave.complete, ()).then(
        COMPLETED,
        TargetsPromoted("release", "v60", 60, 7001, LATER),
        TargetsPruned("release", "v60", (48,), ()),
        WaveClosed("release", "v60", "complete", ()),
    )
    own, back = Recovery("held/v60", 7001, LATER, "v60"), Recovery("production/release", 8001, LATER, "v48")
    anew.when(wave.cancel, None).then(
        replace(CANCELED, reason=None), WaveClosed("release", "v60", "canceled", (own, back))
    )
    anew.when(wave.require_unexpired, EXPIRES).then(None)


@pytest.mark.parametrize(
    "documents", [ANEW[:1], (ANEW[0], BACK), (ANEW[1], ANEW[0]), (replace(ANEW[0], version=6000), ANEW[1])]
)
def test_a_resign_is_of_all_documents_under_higher_versions(given, documents):
    """Anything else is no history of a wave."""
    with pytest.raises(IllegalEvent):
        given(INIT, SIGNED, replace(RESIGNED, documents=documents))


def test_other_holders_of_a_wave_that_waits(given):
    """The signatures of those who stay go on counting, over the same documents; it never needs fewer."""
    waits = given(replace(INIT, threshold=4), SIGNED, SIGNED2)
    changed = WaveHoldersChanged("v60", 2, 4, ("key1",))

    waits.when(wave.change_holders, {"key2", "key3"}, 2, 3).then(changed)
    waits.when(wave.change_holders, {"key1", "key2"}, 2, 2).then(None)
    waits.when(wave.change_holders, {"key1", "key2"}, 2, 5).then(replace(changed, threshold=5, removed=()))
    state = given(replace(INIT, threshold=4), SIGNED, SIGNED2, changed).state
    assert (state.documents, state.signed, state.needed) == ((OWN, BACK), BOTH[1:], 3)


@pytest.mark.parametrize(
    ("history", "changed"),
    [
        ((INIT, SIGNED), WaveHoldersChanged("v60", 2, 3, ())),
        ((INIT3, SIGNED), WaveHoldersChanged("v60", 2, 2, ())),
        ((INIT3, SIGNED), WaveHoldersChanged("v60", 2, 3, ("key2",))),
        ((INIT3, CANCELED), WaveHoldersChanged("v60", 2, 4, ())),
    ],
)
def test_holders_change_of_a_wave_that_waits_only(given, history, changed):
    """Not of one that is ready or has ended; nobody's signature goes who gave none, and no threshold goes down."""
    with pytest.raises(IllegalEvent):
        given(*history, changed)


def test_a_wave_that_expired_is_not_delivered(given):
    """No client would accept it: from the second of its expiry on."""
    ready = given(INIT, SIGNED)

    ready.when(wave.require_unexpired, EXPIRES - timedelta(seconds=1)).then(None)
    for late in (EXPIRES, LATER):
        ready.when(wave.require_unexpired, late).refused(WaveExpired, wave="v60", expires="2027-11-23T00:00:00Z")


ILLEGAL = {
    "initialized twice": (INIT, INIT),
    "signed before init": (SIGNED,),
    "rolled out before init": (ROLLED,),
    "completed before init": (COMPLETED,),
    "canceled before init": (CANCELED,),
    "rolled out unsigned": (INIT, ROLLED),
    "completed unsigned": (INIT, COMPLETED),
    "signed once too often": (INIT, SIGNED, SIGNED2),
    "signed twice by one key": (INIT3, SIGNED, SIGNED),
    "too few signatures": (INIT, replace(SIGNED, signatures=("s1",))),
    "a rollout's number skipped": (INIT, SIGNED, replace(ROLLED, rollout=2)),
    "a rollout's number again": (INIT, SIGNED, ROLLED, ROLLED),
    "signed after complete": (INIT3, SIGNED, SIGNED2, COMPLETED, SIGNED),
    "rolled out after complete": (INIT, SIGNED, COMPLETED, ROLLED),
    "canceled after complete": (INIT, SIGNED, COMPLETED, CANCELED),
    "completed after cancel": (INIT, SIGNED, CANCELED, COMPLETED),
    "canceled twice": (INIT, CANCELED, CANCELED),
    "signed by another wave": (INIT, replace(SIGNED, wave="v61")),
    "rolled out by another wave": (INIT, SIGNED, replace(ROLLED, wave="v61")),
    "completed by another wave": (INIT, SIGNED, replace(COMPLETED, wave="v61")),
    "canceled by another wave": (INIT, replace(CANCELED, wave="v61")),
}


@pytest.mark.parametrize("history", ILLEGAL.values(), ids=ILLEGAL)
def test_evolve_refuses_a_history_that_no_rule_allows(given, history):
    """Illegal transitions stop the program (exit 7), they are never guessed at."""
    given(*history[:-1])

    with pytest.raises(IllegalEvent) as caught:
        given(*history)

    assert caught.value.exit_code == 7
