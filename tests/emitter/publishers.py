"""Two publishers at once, and clients that poll all the while."""

from __future__ import annotations

import threading
from collections.abc import Callable

from projections.tuf.destination import Destination
from tests.support import Factory


def polls_while_two_publish(
    factory: Factory, place: Callable[[], Destination], rounds: int, poll: Callable[[], object]
) -> int:
    """Two machines sign and write all, so many times each, without an error; how often was polled meanwhile."""
    problems: list[BaseException] = []

    def work() -> None:
        own = Factory(factory.path)
        own.now = factory.now
        try:
            for _ in range(rounds):
                own.publish(place(), refresh=True, force=True)
        except BaseException as problem:  # noqa: BLE001  shown below
            problems.append(problem)
        finally:
            own.close()

    publishers = [threading.Thread(target=work) for _ in range(2)]
    for publisher in publishers:
        publisher.start()
    polls = 0
    while any(publisher.is_alive() for publisher in publishers):
        poll()
        polls += 1
    for publisher in publishers:
        publisher.join()
    assert problems == []
    return polls
