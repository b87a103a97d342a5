"""Scores of held-out text during a stage and at its ends, the same in every process."""

from __future__ import annotations

from collections.abc import Callable, Collection

from yxanul.data.batches import WindowShape
from yxanul.eval.perplexity import score_domains, score_shards, window_shape
from yxanul.eval.score import Score
from yxanul.stages.config import longest_row
from yxanul.stages.session import Session


class Scorer:
    """Scores the domains of the stages up to one of them, with the arithmetic of the training."""

    def __init__(self, session: Session, index: int):
        self._session, self._index = session, index
        stages = session.recipe.stages[: index + 1]
        self.domains = sorted({domain for stage in stages for domain in stage.domains()})
        self._shapes = {domain: self._shape(domain) for domain in self.domains}

    def _shape(self, domain: str) -> WindowShape:
        """Return how a domain is scored: in every stage as in the first that trained it."""
        settings, stages = self._session.recipe.eval, self._session.recipe.stages
        first = next(stage for stage in stages if domain in stage.domains())
        return window_shape(settings.seq_len or longest_row(first), settings.stride)

    def score(self, domains: Collection[str]) -> dict[str, Score]:
        """Score all held-out text of the domains."""
        held_out = {domain: self._session.held_out[domain] for domain in domains}
        with self._session.engine.shown() as model:
            return self._from_first(
                lambda: score_domains(model, held_out, self._shapes, self._session.ui)
            )

    def score_sample(self, domains: Collection[str]) -> dict[str, Score]:
        """Score the sample of the domains' held-out text that is drawn once a run."""
        samples = {domain: self._session.samples[domain] for domain in domains}
        with self._session.engine.shown() as model:
            return self._from_first(
                lambda: {
                    domain: score_shards(model, one.shards, self._shapes[domain], one.documents)
                    for domain, one in samples.items()
                }
            )

    def score_at_start(self, domains: Collection[str]) -> dict[str, Score]:
        """Score the domains before a stage's first step; at the start of a run, which should begin
        soon and where nothing is known yet, only the sample."""
        knows = self._index or self._session.recipe.model.init_from is not None
        return self.score(domains) if knows else self.score_sample(domains)

    def _from_first(self, score: Callable[[], dict[str, Score]]) -> dict[str, Score]:
        """Score in the first process, for all of them."""
        world = self._session.world
        scores = score() if world.is_first else {}
        world.wait_for_first()
        return world.from_first(scores)
