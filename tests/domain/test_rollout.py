"""Whom a rollout may choose, and how many (DESIGN §2, "rollout")."""

# ruff: noqa: RUF001  digits that look like ASCII and are not: what the rules have to tell apart

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from hashlib import sha256

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from ledger.domain.rollout import (
    EmptySelection,
    Limit,
    LimitAboveAll,
    LimitIsNegative,
    LimitIsZero,
    LimitNotANumber,
    NothingSelected,
    digest_of,
    draw_of,
    group_digest,
    parse_limit,
    require_selection,
    selection_order,
)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("1", Limit(1, percent=False)),
        ("10000", Limit(10_000, percent=False)),
        ("10001", Limit(10_001, percent=False)),
        ("007", Limit(7, percent=False)),
        ("101", Limit(101, percent=False)),
        ("999999999999", Limit(999_999_999_999, percent=False)),
        ("1%", Limit(1, percent=True)),
        ("100%", Limit(100, percent=True)),
    ],
)
def test_a_limit_is_a_number_or_a_percentage(text, limit):
    """No cap of 10,000."""
    assert parse_limit(text) == limit


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("0", LimitIsZero),
        ("00", LimitIsZero),
        ("-0", LimitIsZero),
        ("0%", LimitIsZero),
        ("000%", LimitIsZero),
        ("-1", LimitIsNegative),
        ("-1%", LimitIsNegative),
        ("-101%", LimitIsNegative),
        ("101%", LimitAboveAll),
        ("999999999999%", LimitAboveAll),
        *[
            (text, LimitNotANumber)
            for text in (
                "", " ", "%", "-", "-%", "all", "1e3", "1.5", "2.5%", "1,000", "1_000", "+1", "0x10", "--1", "10%%",
                "%10", "10 %", "- 1", "١", "٣", "٣%", "１０", "²", "½", "∞", "1\x00", "1\n2", "9" * 13, "9" * 10_000,
                "1" + "0" * 30 + "%",
            )
        ],
    ],
)  # fmt: skip
def test_a_limit_that_is_none_is_refused_and_never_widened(given_state, text, error):
    """0, 0%, negative, above 100% and whatever is no whole number: each has its own error."""
    outcome = given_state(text).when(parse_limit)

    outcome.refused(error)
    assert len(str(outcome.error)) < 300


@pytest.mark.property
@for_all(st.text(max_size=20))
def test_any_text_is_a_limit_or_refused(text):
    """A limit that was read selects at least one device of a hundred, and is written as it was typed."""
    try:
        limit = parse_limit(text)
    except (LimitNotANumber, LimitIsZero, LimitIsNegative, LimitAboveAll):
        return

    assert limit.quota(100) >= 1
    assert parse_limit(str(limit)) == limit


@pytest.mark.parametrize(
    ("percent", "matching", "quota"),
    [
        (25, 0, 0),
        (1, 1, 1),
        (25, 10, 3),
        (25, 12, 3),
        (25, 13, 4),
        (100, 7, 7),
        (99, 100, 99),
        (29, 100, 29),  # 0.29 * 100 is 28.999999999999996 in floating point, 0.07 * 100 is 7.000000000000001
        (7, 100, 7),
        (1, 10**12, 10**10),
        (1, 10**12 + 1, 10**10 + 1),
        (33, 10**18 + 1, 33 * 10**16 + 1),
    ],
)
def test_a_percentage_is_of_the_matching_rounded_up(percent, matching, quota):
    """ceil(N x matching / 100), exact at any size."""
    assert Limit(percent, percent=True).quota(matching) == quota


@pytest.mark.property
@for_all(st.integers(1, 100), st.integers(0, 10**15))
def test_a_percentage_is_exact(percent, matching):
    """The same as in decimal arithmetic of any length, and never above all."""
    quota = Limit(percent, percent=True).quota(matching)

    assert quota == int((Decimal(percent) * matching / 100).to_integral_value(ROUND_CEILING))
    assert quota <= matching


@pytest.mark.parametrize("matching", [0, 1, 10**12])
def test_a_number_is_that_number(matching):
    """At most so many, however many match."""
    assert Limit(5, percent=False).quota(matching) == 5


def test_a_rollout_needs_a_selection(given_state):
    """Without one it is refused, and points at complete."""
    outcome = given_state("v60").when(require_selection, group=None, limit=None, uuids=None)

    outcome.refused(NothingSelected, wave="v60")
    assert "waves complete v60" in outcome.error.render_hint()


@pytest.mark.parametrize("group", [None, "canary"])
@pytest.mark.parametrize("limit", [None, Limit(5, percent=False)])
def test_an_empty_list_is_refused(given_state, group, limit):
    """It never means "all", also beside a group or a limit."""
    given_state("v60").when(require_selection, group=group, limit=limit, uuids=()).refused(EmptySelection, wave="v60")


def test_an_empty_group_name_selects_nothing(given_state):
    """An unset shell variable in --group "$GROUP" is no selection."""
    given_state("v60").when(require_selection, group="", limit=None, uuids=None).refused(NothingSelected)


@pytest.mark.parametrize("given", [{"group": "canary"}, {"limit": Limit(1, percent=True)}, {"uuids": ("a",)}])
def test_one_selector_is_enough(given):
    """A group, a limit or a list."""
    require_selection("v60", **{"group": None, "limit": None, "uuids": None, **given})


def test_the_digest_of_a_choice_is_stable():
    """Golden: plans and events that hold it are for ever."""
    assert digest_of("v48", ["gw-001", "gw-002"]) == sha256(b"waveledger rollout\nv48\ngw-001\ngw-002\n").hexdigest()
    assert digest_of("v48", ["gw-001", "gw-002"]) == "d0c1c871aea0188c5126e7344929ff330e50283bf7d50f60c51c477b32d128ec"
    assert digest_of("v48", []) == "c8bbfe9e2c15a1758c3be997a28d2a9e69eee7da5094e576c73fca183302447a"
    assert group_digest("v48", "canary") == "92632192fb4a85c24a24b43d37125727b848ff13bdd60e9f2ca35d0b0ac41cd9"


@pytest.mark.property
@for_all(
    st.lists(st.from_regex(r"[!-+\--:<-{}~]{1,60}", fullmatch=True), unique=True), st.randoms(use_true_random=False)
)
def test_the_digest_does_not_depend_on_the_order(uuids, random):
    """A plan is a set of devices."""
    shuffled = list(uuids)
    random.shuffle(shuffled)

    assert digest_of("v48", uuids) == digest_of("v48", shuffled)


def test_the_digest_tells_waves_devices_and_groups_apart():
    """Nothing else has the digest of another choice."""
    digests = {
        digest_of("v48", ["a"]), digest_of("v49", ["a"]), digest_of("v48", ["a", "b"]), digest_of("v48", ["ab"]),
        digest_of("v48", []), group_digest("v48", "a"), group_digest("v48", "b"), group_digest("v49", "a"),
    }  # fmt: skip

    assert len(digests) == 8


def test_the_order_of_selection_is_stable():
    """Golden: the same devices on every machine, in SQLite and in PostgreSQL."""
    assert [selection_order(wave) for wave in ("v48", "v52", "v60")] == [144438073, 916563271, 1366239255]
    assert [draw_of(uuid) for uuid in ("gw-001", "gw-002", "0")] == [1381832149, 1768043987, 804681139]


@pytest.mark.property
@for_all(st.text(max_size=60), st.text(max_size=60))
def test_draws_fit_integers_of_every_database(wave, uuid):
    """Both factors stay below 2**31, so the product stays below 2**62; the multiplier is odd."""
    assert 0 <= draw_of(uuid) < 2**31
    assert 0 < selection_order(wave) < 2**31
    assert selection_order(wave) % 2 == 1


def test_a_wave_orders_devices_in_its_own_way():
    """Nobody is always first: over many waves every device gets its turn."""
    uuids = [f"gw-{i:03}" for i in range(10)]
    first = {min(uuids, key=lambda uuid: draw_of(uuid) * selection_order(f"v{n}") % 2147483647) for n in range(300)}

    assert first == set(uuids)
