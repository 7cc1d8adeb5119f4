"""Stories that several tests of the emitter tell, a publication apart."""

from __future__ import annotations

from tests.support import DAY, Factory, device


def rolled_out(factory: Factory) -> None:
    """The first wave reaches the canaries; one device is CI's."""
    factory.build(1, 2, 3)
    factory.register(device("a", group="canary"), device("b"), device("t", tag="main", production=False))
    factory.init("w1", 1)
    factory.rollout("w1", group="canary")


def completed(factory: Factory) -> None:
    """It becomes production, and the next one reaches the canaries."""
    factory.complete("w1")
    factory.init("w2", 2)
    factory.rollout("w2", group="canary")


def under_way(factory: Factory) -> None:
    """Both at once: a wave on its way to the canaries, over an earlier production."""
    rolled_out(factory)
    completed(factory)


def days_later(factory: Factory) -> None:
    """Long enough for closed views to be removed."""
    factory.wait(9 * DAY)
