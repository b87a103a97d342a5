"""What came out of a run: scores, a sample, and what a compressor needs for the same text."""

from __future__ import annotations

import lzma
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.eval.score import Score
from yxanul.generate.config import SampleSettings
from yxanul.generate.decode import complete
from yxanul.stages.ledger import Entry
from yxanul.stages.session import Session

LONGEST_SAMPLE = 400
"""Tokens of the sample that ends a run, at most: it should come to its own end."""

FIRST_DOCUMENTS, PROMPT_TOKENS, PROMPT_WORDS, PROMPT_CHARS = 16, 64, 6, 60
"""Where the prompt of that sample comes from if the recipe has none, and how long it is."""


@dataclass(frozen=True)
class Outcome:
    """The end of a run, for people and for --json."""

    run: Path
    facts: dict[str, Any]
    """What `stage_facts` says of the run."""
    stages: list[Entry]
    scores: dict[str, Score]
    """On all held-out text, by domain, as the last gate measured them."""
    xz: dict[str, float | None]
    """By domain: bits per byte of `xz -9e` on the same held-out text, unless that is very long."""
    synthetic: frozenset[str]
    """The domains whose text was written by programs."""
    prompt: str
    samples: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        scores = {
            domain: score.to_dict()
            | {"xz_bits_per_byte": self.xz[domain], "synthetic": domain in self.synthetic}
            for domain, score in self.scores.items()
        }
        return self.facts | {"held_out": scores, "samples": self.samples}


def stage_facts(session: Session) -> dict[str, Any]:
    """Return how far a run came, whether to its end or to a closed gate."""
    return {
        "run": str(session.run.path),
        "steps": session.progress.step,
        "tokens": session.progress.tokens_seen,
        "start_seconds": session.startup.seconds,
        "checkpoint_seconds": session.writer.seconds_held,
        "stages": [entry.to_dict() for entry in session.ledger.entries],
    }


def summarize(session: Session) -> Outcome | None:
    """Gather the last gate's scores, compare with xz, and write a sample for each prompt.

    All processes call it: the model may have to be gathered; all but the first have None of it.
    """
    session.data.finish()
    folder = session.run.data(session.recipe.data.folder)
    entries = session.ledger.entries
    at_end = entries[-1].at_end
    scores = {
        domain: Score(at_end[f"val/{domain}/loss"], one.num_tokens, int(one.document_bytes.sum()))
        for domain, one in session.data.held_out.items()
    }
    prompts = session.recipe.eval.sample_prompts or (opening_words(session),)
    settings = SampleSettings(max_tokens=LONGEST_SAMPLE, temperature=0.3, seed=session.recipe.seed)
    samples = continued(session, prompts, settings)
    if not session.world.is_main:
        return None
    return Outcome(
        run=session.run.path,
        facts=stage_facts(session),
        stages=entries,
        scores=scores,
        xz={domain: xz_bits_per_byte(folder / domain) for domain in scores},
        synthetic=frozenset(d for d in scores if session.data.held_out[d].synthetic),
        prompt=prompts[0],
        samples=samples,
    )


def continued(session: Session, prompts: Iterable[str], settings: SampleSettings) -> list[str]:
    """Return each prompt with what the model adds; one that it cannot take is a warning only.

    All processes call it: the model may have to be gathered; the first one has the texts.
    """
    texts = []
    with session.engine.eval_weights() as model:
        for prompt in prompts if session.world.is_main else ():
            try:
                written = complete(model, session.data.tokenizer, prompt, settings)
            except YxanulError as error:
                session.ui.warn(f"no sample: {error}")
            else:
                texts.append(prompt + written[0].text)
    return texts


def opening_words(session: Session) -> str:
    """Return the first words of a held-out document of the last stage: a prompt of its kind."""
    shards = session.data.held_out[session.recipe.stages[-1].domains()[0]]
    for number in range(min(shards.num_documents, FIRST_DOCUMENTS)):
        ids = shards.document(number)[:-1][:PROMPT_TOKENS].tolist()
        words = session.data.tokenizer.decode(ids).split()[:PROMPT_WORDS]
        prompt = " ".join(words)[:PROMPT_CHARS]
        if prompt.isprintable() and any(sign.isalpha() for sign in prompt):
            return prompt
    return ""


LONGEST_BYTES = 20_000_000


def xz_bits_per_byte(source: Path) -> float | None:
    """Return what `xz -9e` needs for the held-out text of a source's folder, in bits per byte of
    it; None for a very long one."""
    path = source / "held-out.txt"
    if path.stat().st_size > LONGEST_BYTES:
        return None
    content = path.read_bytes()
    packed = lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)
    return 8 * len(packed) / len(content)
