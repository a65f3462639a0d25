"""A session of any bundle begun: one that faces drive, or one that a whole body does."""

from __future__ import annotations

from typing import Any, cast

from engine.batching import BatchingRunner, SessionRunner
from engine.pipeline import PipelineConfig, Session
from engine.plug import Generator, Prepared
from engine.staged import Staged, body_driven
from engine.worker.offers import OpenBundle
from engine.worker.servers import Servers


def begun(
    bundle: OpenBundle,
    runner: SessionRunner | BatchingRunner,
    tracker: Any,
    prepared: tuple[Prepared, ...],
    servers: Servers,
    config: PipelineConfig,
    faces: int = 1,
) -> Staged:
    """tracker: of what drives the bundle (Stock.following). prepared: as Preparing gives it. faces: how many of the
    driver's an edit edits. Raises ConfigError where something that it needs is not there."""
    driven = body_driven(bundle.generator)
    if driven is not None:
        return driven.session(tracker, runner, prepared[0], config.fallback)
    return Session(
        tracker,
        cast(Generator, bundle.generator),
        runner,
        faces=faces,
        config=config,
        prepared=prepared,
        reuse=True,
        **servers.of(bundle.generator),
    )
