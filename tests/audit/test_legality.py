"""Ledgers written by hand: well hashed, and with events that no rule admits. An audit names the first of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from ledger.domain import rollout
from ledger.domain.events import (
    EVENTS,
    CiTargetsImported,
    CiTargetsPruned,
    DevicesChanged,
    DevicesRegistered,
    DevicesRemoved,
    DevicesReported,
    DevicesStaged,
    Event,
    FactoryInitialized,
    MemberAdded,
    MemberRemoved,
    MetadataPublished,
    OnlineKeySet,
    RootPublished,
    RootSigned,
    Selector,
    TargetsPromoted,
    VersionsRaised,
    WaveCanceled,
    WaveClosed,
    WaveCompleted,
    WaveOpened,
    WaveRolledOut,
    WaveSigned,
)
from ledger.session import Ledger, load
from ledger.store import events
from ledger.tuf.keypair import generate
from projections.audit.findings import Finding
from projections.audit.history import Audit
from projections.audit.places import _PLACES, stream_of
from projections.tuf import state
from projections.tuf.publish import prepare, publish
from projections.tuf.state import newest_publications
from tests.audit.conftest import Copies
from tests.support import DAY, Factory, target

Written = Sequence[tuple[str, Event]]
SELECTOR = Selector(None, None, 1)


def write(factory: Factory, events: Written, actor: str = "alice") -> int:
    """Append events as they are, to their streams, asking no rule; the position of the first."""
    first = factory.head()[0] + 1
    factory.actor = actor  # on PostgreSQL each has an own login
    with Ledger(factory.engine, [], actor, factory.now).writing() as session:
        for stream, event in events:
            session.append(stream, [event])
    return first


def look(factory: Factory) -> list[Finding]:
    """What is found in the history; the projections don't know these events."""
    return list(Audit(factory.engine).history())


def stream(factory: Factory, name: str) -> list[Any]:
    with factory.ledger.reading() as connection:
        return load(connection, name)


def of(factory: Factory, name: str, kind: type[Any]) -> Any:
    """The newest event of a kind in a stream."""
    return next(event for event in reversed(stream(factory, name)) if isinstance(event, kind))


def rolled_out(wave: str, number: int, *uuids: str, **changes: Any) -> WaveRolledOut:
    digest = rollout.digest_of(wave, uuids)
    fields = {"devices": len(uuids), "skipped": 0, "digest": digest, "plan": None, "full_group": False, **changes}
    return WaveRolledOut(wave, number, SELECTOR, **fields)


# In the ledger w1 is complete, w2 canceled, w3 active and rolled out, w4 (tag beta) waits for a signature.


def second_active_wave(factory: Factory) -> Written:
    return [("tag:release", WaveOpened("release", "w9", 9, 90, 92))]


def rollout_after_cancel(factory: Factory) -> Written:
    return [("wave:w2", rolled_out("w2", 2, "d1")), ("rollout:w2:2", DevicesStaged("w2", 2, ("d1",)))]


def complete_when_not_ready(factory: Factory) -> Written:
    return [("wave:w4", WaveCompleted("w4"))]


def rollout_when_not_ready(factory: Factory) -> Written:
    return [("wave:w4", rolled_out("w4", 1))]


def cancel_of_a_complete_wave(factory: Factory) -> Written:
    return [("wave:w1", WaveCanceled("w1", None))]


def the_same_wave_again(factory: Factory) -> Written:
    return [("wave:w1", stream(factory, "wave:w1")[0])]


def a_wave_on_a_tag_that_was_not_opened(factory: Factory) -> Written:
    begun = stream(factory, "wave:w4")[0]
    return [("wave:w9", replace(begun, wave="w9"))]


def a_tag_that_is_opened_for_nothing(factory: Factory) -> Written:
    return [("tag:new", WaveOpened("new", "w9", 9, 1, 1)), ("factory", MemberAdded("carol", "admin"))]


def promotion_without_completion(factory: Factory) -> Written:
    own = stream(factory, "wave:w3")[0].documents[0]
    return [("tag:release", TargetsPromoted("release", "w3", 3, own.version, own.expires))]


def completion_without_promotion(factory: Factory) -> Written:
    return [("wave:w3", WaveCompleted("w3")), ("tag:release", WaveClosed("release", "w3", "complete", ()))]


def completion_with_another_version(factory: Factory) -> Written:
    own = stream(factory, "wave:w3")[0].documents[0]
    promoted = TargetsPromoted("release", "w3", 3, own.version + 1, own.expires)
    return [("wave:w3", WaveCompleted("w3")), ("tag:release", promoted)]


def cancel_that_recovers_nothing(factory: Factory) -> Written:
    return [("wave:w3", WaveCanceled("w3", None)), ("tag:release", WaveClosed("release", "w3", "canceled", ()))]


def the_end_of_a_wave_cut_off(factory: Factory) -> Written:
    return [("wave:w3", WaveCanceled("w3", None))]


def a_digest_of_other_devices(factory: Factory) -> Written:
    told = rolled_out("w3", 2, "d1", digest=rollout.digest_of("w3", ["d2"]))
    return [("wave:w3", told), ("rollout:w3:2", DevicesStaged("w3", 2, ("d1",)))]


def fewer_devices_than_it_says(factory: Factory) -> Written:
    told = rolled_out("w3", 2, "d1", "d2")
    return [("wave:w3", told), ("rollout:w3:2", DevicesStaged("w3", 2, ("d1",)))]


def devices_without_a_rollout(factory: Factory) -> Written:
    return [("rollout:w3:7", DevicesStaged("w3", 7, ("d1",)))]


def a_device_that_is_not_on_the_tag(factory: Factory) -> Written:
    told = rolled_out("w3", 2, "d8")  # a test device
    return [("wave:w3", told), ("rollout:w3:2", DevicesStaged("w3", 2, ("d8",)))]


def a_device_reached_twice(factory: Factory) -> Written:
    return [("wave:w3", rolled_out("w3", 2, "d4")), ("rollout:w3:2", DevicesStaged("w3", 2, ("d4",)))]


def a_device_of_another_group(factory: Factory) -> Written:
    told = replace(rolled_out("w3", 2, "d1"), selector=Selector("canary", None, None))  # d1 is in lab
    return [("wave:w3", told), ("rollout:w3:2", DevicesStaged("w3", 2, ("d1",)))]


def a_report_of_another_number(factory: Factory) -> Written:
    return [("fleet", DevicesReported(("d1",), ("arm64-lmp-1",), (99,), (1,)))]


def a_group_with_another_digest(factory: Factory) -> Written:
    selector = Selector("lab", None, None)
    return [("wave:w3", replace(rolled_out("w3", 2, full_group=True), selector=selector))]


def a_device_registered_twice(factory: Factory) -> Written:
    return [("fleet", DevicesRegistered(("d1",), ("n",), ("arm64",), ("release",), (None,), (True,)))]


def columns_of_two_lengths(factory: Factory) -> Written:
    return [("fleet", DevicesChanged(("d1", "d2"), ("n",), ("arm64",), ("release",), (None,), (True,)))]


def a_report_of_nobody(factory: Factory) -> Written:
    return [("fleet", DevicesReported(("d99",), ("t",), (1,), (1,)))]


def a_removal_of_nobody(factory: Factory) -> Written:
    return [("fleet", DevicesRemoved(("d99",)))]


def a_target_with_another_hash(factory: Factory) -> Written:
    body = {"length": 101, "hashes": {"sha256": "00" * 32}, "custom": {}}
    return [("catalog", CiTargetsImported("ci.json", {"arm64-lmp-1": body}))]


def a_prune_of_nothing(factory: Factory) -> Written:
    return [("catalog", CiTargetsPruned(("arm64-lmp-99",)))]


def the_wrong_stream(factory: Factory) -> Written:
    return [("catalog", MemberAdded("carol", "admin"))]


def a_second_beginning(factory: Factory) -> Written:
    return [("factory", FactoryInitialized("acme", "00" * 32))]


def the_last_owner_goes(factory: Factory) -> Written:
    return [("factory", MemberRemoved("alice"))]


ILLEGAL: list[Callable[[Factory], Written]] = [
    second_active_wave, rollout_after_cancel, complete_when_not_ready, rollout_when_not_ready,
    cancel_of_a_complete_wave, the_same_wave_again, a_wave_on_a_tag_that_was_not_opened,
    promotion_without_completion, a_digest_of_other_devices, fewer_devices_than_it_says, devices_without_a_rollout,
    a_group_with_another_digest, a_device_registered_twice, columns_of_two_lengths, a_report_of_nobody,
    a_report_of_another_number, a_removal_of_nobody, a_target_with_another_hash,
    a_prune_of_nothing, the_wrong_stream, a_second_beginning,
    the_last_owner_goes,
]  # fmt: skip
ILLEGAL_LATER: list[Callable[[Factory], Written]] = [  # the event after the first is the one that does not fit
    a_tag_that_is_opened_for_nothing, completion_without_promotion, completion_with_another_version,
    cancel_that_recovers_nothing, a_device_that_is_not_on_the_tag, a_device_reached_twice, a_device_of_another_group,
]  # fmt: skip


@pytest.mark.parametrize("forge", ILLEGAL, ids=lambda forge: forge.__name__)
def test_an_illegal_event_is_found(copies: Copies, forge: Callable[[Factory], Written]) -> None:
    """The first finding is about the event that the rules don't admit, at its position; its hashes are right."""
    factory = copies()
    position = write(factory, forge(factory))
    found = look(factory)

    assert (found[0].kind, found[0].position) == ("illegal", position)
    assert not {"chain", "head", "checkpoint"} & {finding.kind for finding in found}


@pytest.mark.parametrize("forge", ILLEGAL_LATER, ids=lambda forge: forge.__name__)
def test_an_event_that_does_not_follow_is_found(copies: Copies, forge: Callable[[Factory], Written]) -> None:
    """What must come next and does not is found at the position where it should stand."""
    factory = copies()
    position = write(factory, forge(factory))
    found = look(factory)

    assert (found[0].kind, found[0].position) == ("illegal", position + 1)


def test_a_transaction_that_was_cut_in_two(copies: Copies) -> None:
    """A ledger that ends between two events of one command says what is missing."""
    factory = copies()
    write(factory, the_end_of_a_wave_cut_off(factory))
    found = look(factory)

    assert [finding.kind for finding in found] == ["illegal"]
    assert "tag.wave-closed/1 of tag:release" in found[0].message


def test_who_is_no_member(copies: Copies) -> None:
    """A wave that is canceled by nobody's member is found, and so is an admin who makes members."""
    factory = copies()
    canceled = WaveCanceled("w3", None)
    state = [("wave:w3", canceled)]
    position = write(factory, state, actor="mallory")
    found = look(factory)

    assert (found[0].position, found[0].field) == (position, "actor")


def test_every_kind_of_event_has_a_stream() -> None:
    """An event that was added later is not without a place: an audit would stop at it."""
    assert set(_PLACES) == set(EVENTS)


# signatures


def by_an_unknown_key(factory: Factory) -> Written:
    """Valid bytes, signed by a key that no root lists."""
    documents = stream(factory, "wave:w4")[0].documents
    thief = generate("ed25519")
    signatures = tuple(thief.sign(document.signed.encode() if document.signed else b"") for document in documents)
    return [("wave:w4", WaveSigned("w4", thief.keyid, signatures))]


def by_the_online_key(factory: Factory) -> Written:
    """A machine signs in the place of a holder."""
    documents = stream(factory, "wave:w4")[0].documents
    online = factory.keys.online["production.targets"]
    signatures = tuple(online.sign(document.signed.encode() if document.signed else b"") for document in documents)
    return [("wave:w4", WaveSigned("w4", online.keyid, signatures))]


def a_signature_over_something_else(factory: Factory) -> Written:
    """A holder's signature, taken from another document."""
    other = of(factory, "wave:w3", WaveSigned)
    return [("wave:w4", WaveSigned("w4", other.keyid, other.signatures[:2]))]


def a_root_of_a_thief(factory: Factory) -> Written:
    """A next root that the old one's keys did not sign."""
    root = of(factory, "trust", RootPublished)
    text = root.metadata.replace(f'"version":{root.version}', f'"version":{root.version + 1}')
    text = text.replace(f'"version": {root.version}', f'"version": {root.version + 1}')
    return [("trust", replace(root, version=root.version + 1, metadata=text))]


def an_online_key_of_no_root(factory: Factory) -> Written:
    """A key that no root lists becomes an online key."""
    thief = generate("ed25519")
    return [("trust", OnlineKeySet("production", "targets", thief.keyid, thief.key.to_dict()))]


def a_signature_over_no_proposal(factory: Factory) -> Written:
    """A root signature, and nothing was proposed."""
    return [("trust", RootSigned(1, "00" * 32, "00"))]


def a_root_version_that_was_not(factory: Factory) -> Written:
    """A wave that was begun under another root."""
    begun = stream(factory, "wave:w4")[0]
    own = begun.documents[0]
    first = own.version // 1000 + 7
    signed = own.signed.replace(f'"version":{own.version}}}', f'"version":{first * 1000}}}')
    document = replace(own, view="wave/w9", version=first * 1000, signed=signed)
    begun = replace(begun, wave="w9", tag="gamma", documents=(document,), root_version=1)
    return [("tag:gamma", WaveOpened("gamma", "w9", begun.number, first, first)), ("wave:w9", begun)]


SIGNATURES = {
    by_an_unknown_key: ("signature", 0),
    by_the_online_key: ("signature", 0),
    a_signature_over_something_else: ("signature", 0),
    a_root_of_a_thief: ("root", 0),
    an_online_key_of_no_root: ("root", 0),
    a_signature_over_no_proposal: ("illegal", 0),
    a_root_version_that_was_not: ("signature", 1),
}


@pytest.mark.parametrize("forge", SIGNATURES, ids=lambda forge: forge.__name__)
def test_a_signature_that_does_not_count_is_found(copies: Copies, forge: Callable[[Factory], Written]) -> None:
    """Keys and signatures are judged by the root of that moment, and the finding names the position."""
    factory = copies()
    kind, later = SIGNATURES[forge]
    position = write(factory, forge(factory))
    found = [finding for finding in look(factory) if finding.position is not None]

    assert (found[0].kind, found[0].position) == (kind, position + later)


# published metadata


def newest(factory: Factory) -> MetadataPublished:
    found = of(factory, "publication:production:release", MetadataPublished)
    assert isinstance(found, MetadataPublished)
    return found


def published_again(factory: Factory) -> Written:
    """The same versions once more."""
    return [("publication:production:release", newest(factory))]


def with_view(factory: Factory, **changes: Any) -> Written:
    """A publication with another last view, of a higher version than all."""
    event = newest(factory)
    view = replace(event.views[-1], **changes)
    return [("publication:production:release", replace(event, documents=(), views=(view,)))]


def other_expiry(factory: Factory) -> Written:
    """A timestamp that lives longer than the event says."""
    view = newest(factory).views[-1]
    return with_view(factory, timestamp_expires=view.snapshot_expires)


def other_version(factory: Factory) -> Written:
    """Files of another version than the event says."""
    return with_view(factory, version=newest(factory).views[-1].version + 1)


def changed_snapshot(factory: Factory) -> Written:
    """A snapshot that was changed after it was signed."""
    view = newest(factory).views[-1]
    text = view.snapshot.replace(f'"version":{view.version}}}', f'"version":{view.version + 1}}}')
    return with_view(factory, version=view.version + 1, snapshot=text)


def targets_never_signed(factory: Factory) -> Written:
    """A targets version that nobody signed."""
    view = newest(factory).views[-1]
    return with_view(factory, version=view.version + 1, targets_version=view.targets_version + 500)


def an_unknown_root(factory: Factory) -> Written:
    """Shown under a root that there is not."""
    return [("publication:production:release", replace(newest(factory), root_version=99))]


@pytest.mark.parametrize(
    "forge",
    [published_again, other_expiry, other_version, changed_snapshot, targets_never_signed, an_unknown_root],
    ids=lambda forge: forge.__name__,
)
def test_publications_that_are_not_what_they_say(copies: Copies, forge: Callable[[Factory], Written]) -> None:
    """Versions, expiries, hashes and signatures of published files are those of the event, and go on from the last."""
    factory = copies()
    position = write(factory, forge(factory))
    found = look(factory)

    assert {finding.position for finding in found} == {position}
    assert {finding.kind for finding in found} <= {"published", "signature"}


def test_a_ci_target_that_nobody_imported(copies: Copies) -> None:
    """Who has the online keys of CI and shows what CI never built is found: its document is signed, and wrong."""
    factory = copies()
    factory.import_targets([target(9)])
    forged = factory.copy(factory.path.with_name("forged.db"))
    with forged.ledger.writing() as session:
        forge = "UPDATE release_ci_target SET body = replace(body, '109', '110') WHERE number = 9"
        session.connection.execute(text(forge))
    publish(forged.ledger, forged.online)
    publish(factory.ledger, factory.online)
    found = look(forged)
    forged.close()

    assert look(factory) == []
    assert [(f.position, f.kind) for f in found] == [(found[0].position, "published")]
    assert "as they were imported: arm64-lmp-9" in found[0].message


# What a view shows: signed well by whoever has the online keys, and drawn from answers that were changed.


def signed_from(factory: Factory, *changes: str) -> None:
    """Publish after these changes of what there is to show; the events say nothing of them."""
    with factory.ledger.writing() as session:
        for change in changes:
            session.connection.execute(text(change))
    assert publish(factory.ledger, factory.online, force=True).problems == []


def shows_the_wave_to_all(factory: Factory) -> None:
    """Production shows what was rolled out to two devices."""
    signed_from(factory, _production_shows("wave/w3"))


def shows_what_was_before(factory: Factory) -> None:
    """Production shows what the held view does: signed, and of an older number."""
    signed_from(factory, _production_shows("held/w2"))


def _production_shows(view: str) -> str:
    columns = ("version", "expires", "wave", "document", "content")
    other = ", ".join(f"{name} = (SELECT o.{name} FROM release_view o WHERE o.view = '{view}')" for name in columns)
    return f"UPDATE release_view SET {other} WHERE view = 'production/release'"


def shows_a_wave_that_waits(factory: Factory) -> None:
    """Production shows a wave that was signed, and never rolled out."""
    factory.cancel("w3")
    factory.init("w5", 4)
    factory.sign("w5")
    publish(factory.ledger, factory.online)
    version = stream(factory, "wave:w5")[0].documents[0].version
    changed = f"version = {version}, wave = 'w5', document = 'wave/w5', content = 'w5'"
    signed_from(factory, f"UPDATE release_view SET {changed} WHERE view = 'production/release'")


def a_view_of_no_wave(factory: Factory) -> None:
    """A view appears whose wave there is not, and the wave's own one is closed."""
    signed_from(factory, "UPDATE release_view SET view = 'wave/w9' WHERE view = 'wave/w3'")


def a_live_view_closed(factory: Factory) -> None:
    """The devices of an active wave lose it."""
    signed_from(factory, "DELETE FROM release_view WHERE view = 'wave/w3'")


def an_ended_view_open(factory: Factory) -> None:
    """A wave that was canceled stays on offer."""
    factory.cancel("w3")
    signed_from(
        factory,
        "INSERT INTO release_view (view, repository, rank, version, expires, wave, document, content) "
        "SELECT 'wave/w3', repository, 3, version, expires, wave, document, content "
        "FROM release_view WHERE view = 'held/w3'",
    )


def views_in_another_order(factory: Factory) -> None:
    """Production before the held view: devices that leave that one would be refused."""
    signed_from(factory, "UPDATE release_view SET rank = 4 WHERE view = 'held/w2'")


def a_view_removed_at_once(factory: Factory) -> None:
    """A wave's view goes while clients still use its last timestamp."""
    factory.complete("w3")
    publish(factory.ledger, factory.online)
    signed_from(factory, "UPDATE release_published SET timestamp_expires = 0 WHERE closed")


@pytest.mark.parametrize(
    "forge",
    [
        shows_the_wave_to_all, shows_what_was_before, shows_a_wave_that_waits, a_view_of_no_wave, a_live_view_closed,
        an_ended_view_open, views_in_another_order, a_view_removed_at_once,
    ],
    ids=lambda forge: forge.__name__,
)  # fmt: skip
def test_views_that_show_something_else(copies: Copies, forge: Callable[[Factory], None]) -> None:
    """Each view shows the one document that it is to show, and there are no views but those: else it is found."""
    factory = copies()
    forge(factory)
    found = look(factory)

    assert {finding.position for finding in found} == {last_publication(factory, "production/release")}
    assert {finding.kind for finding in found} == {"published"}


def last_publication(factory: Factory, repository: str) -> int:
    with factory.ledger.reading() as connection:
        return newest_publications(connection, repository)[repository]


def test_timestamps_that_live_too_long(copies: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is cut off must notice after a week: a timestamp for ten years is found, of CI's, too."""
    factory = copies()
    monkeypatch.setattr(state, "TIMESTAMP_SECONDS", 10 * 365 * DAY)
    signed_from(factory)
    found = look(factory)

    repositories = ("ci/main", "production/release")
    assert {f.position for f in found} == {last_publication(factory, name) for name in repositories}
    assert {(f.kind, f.field) for f in found} == {("published", "timestamp_expires")}


def test_a_ci_document_of_another_position(copies: Copies) -> None:
    """A CI document that lists what CI never built is found, and that it says another position does not hide it."""
    factory = copies()
    factory.import_targets([target(9)])
    signed_from(
        factory,
        "UPDATE release_ci_target SET body = replace(body, '109', '110') WHERE number = 9",
        "UPDATE release_view SET content_position = content_position - 1 WHERE view = 'ci/main'",
    )
    found = look(factory)

    assert {(f.position, f.kind) for f in found} == {(last_publication(factory, "ci/main"), "published")}
    assert "as they were imported: arm64-lmp-9" in found[0].message
    assert any("says that it lists position" in finding.message for finding in found)


def test_a_publication_that_events_overtook(copies: Copies) -> None:
    """What is recorded after events that came while it was signed is judged by the moment that it was drawn from."""
    factory = copies()
    factory.import_targets([target(9)])
    factory.cancel("w3")
    drawn = [_drawn(factory, name) for name in ("production/release", "ci/main")]
    factory.import_targets([target(9, tags=("other",)), target(10)])
    factory.init("w5", 4)
    factory.sign("w5")
    factory.rollout("w5", limit="1")
    factory.complete("w5")
    with factory.ledger.writing() as session:
        for publication, event in drawn:
            session.append(stream_of(event), [*publication.also_signed, event])
        checkpoint = publication.checkpoint
        events.add_checkpoint(session.connection, checkpoint.size, checkpoint.note())
    assert look(factory) == []
    publish(factory.ledger, factory.online)
    assert look(factory) == []


def _drawn(factory: Factory, repository: str) -> tuple[Any, MetadataPublished]:
    """A publication that is signed, and not recorded yet."""
    with factory.ledger.reading() as connection:
        publication = prepare(connection, factory.online, repository, factory.now)
    return publication, publication.sign()


def test_a_holder_in_the_place_of_the_online_key(copies: Copies) -> None:
    """A valid signature of a holder, where the online key's should be, is found: its publisher has no such key."""
    factory = copies()
    factory.cancel("w3")
    _, event = _drawn(factory, "production/release")
    document = event.documents[-1]
    begun, holder = stream(factory, "wave:w3")[0], of(factory, "wave:w3", WaveSigned)
    place = [one.version for one in begun.documents].index(document.version)
    forged = replace(document, keyid=holder.keyid, signature=holder.signatures[place])
    shown = replace(event, documents=(*event.documents[:-1], forged))
    position = write(factory, [("publication:production:release", shown)])
    found = look(factory)

    assert (found[0].position, found[0].kind) == (position, "signature")
    assert f"not a signature of the online key: {holder.keyid}" in found[0].message


def test_versions_of_a_lost_ledger(copies: Copies) -> None:
    """After versions were raised, a publication below them is found."""
    factory = copies()
    write(factory, [("publication:production:release", VersionsRaised("production/release", 10_000, 10_000))])
    publish(factory.ledger, factory.online)
    assert look(factory) == []


def test_a_wave_whose_targets_are_not_productions(copies: Copies) -> None:
    """A wave whose document holds more than production and what the wave is said to bring is found."""
    factory = copies()
    begun = stream(factory, "wave:w3")[0]
    factory.cancel("w3")
    own = begun.documents[0]
    lane = own.version // 1000 + 50
    signed = own.signed.replace(f'"version":{own.version}}}', f'"version":{lane * 1000}}}')
    document = replace(own, version=lane * 1000, signed=signed)
    fewer = replace(begun, wave="w9", targets=begun.targets[:1], documents=(document,))
    opened = WaveOpened("release", "w9", begun.number, lane, lane)
    position = write(factory, [("tag:release", opened), ("wave:w9", fewer)])
    found = look(factory)

    assert (found[0].kind, found[0].position) == ("illegal", position + 1)
    assert "its targets are not production's" in found[0].message
