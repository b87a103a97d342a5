"""Summary of a finished run: scores, samples, and xz compression as a baseline."""

from __future__ import annotations

import lzma
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.data.manifest import read_manifest
from yxanul.data.shards import Shards
from yxanul.eval.score import Score
from yxanul.generate.config import SampleSettings
from yxanul.generate.decode import complete
from yxanul.stages.session import Session

SAMPLING = SampleSettings(max_tokens=400, temperature=0.3)
"""Sampling at the end of a run: calm, and long enough to reach eos."""

FIRST_DOCUMENTS, FIRST_TOKENS = 16, 256
"""Documents that are searched for a default prompt, and how much of each."""
PROMPT_WORDS, PROMPT_CHARS = 6, 60
"""Maximum length of a default prompt."""
_STARTS = re.compile(r"\A|\n\s*\n|[.!?][\"')\]]*\s")
"""What comes before a sentence or a paragraph."""


def stage_facts(session: Session) -> dict[str, Any]:
    """Return a run's progress and ledger entries, at its end or at a failed gate."""
    return {
        "run": str(session.run.path),
        "steps": session.progress.step,
        "tokens": session.progress.tokens_seen,
        "start_seconds": session.startup.seconds,
        "checkpoint_seconds": session.writer.seconds_blocked,
        "stages": [entry.to_dict() for entry in session.ledger.entries],
    }


def summarize(session: Session) -> dict[str, Any] | None:
    """Collect the last gate's scores, xz baselines, and a sample for each prompt, at the end of a
    run or at a failed gate.

    All ranks must call it, since a sharded model has to be gathered; only rank 0 gets the facts.
    """
    session.data.finish()
    prompts = session.recipe.eval.sample_prompts or (opening_words(session),)
    settings = SAMPLING.model_copy(update={"seed": session.recipe.seed})
    samples = continued(session, prompts, settings)
    if not session.world.is_main:
        return None
    own = {"held_out": held_out_facts(session), "samples": samples, "prompt": prompts[0]}
    return stage_facts(session) | own


def held_out_facts(session: Session) -> dict[str, dict[str, Any]]:
    """Return the scores on all held-out text, by domain, as measured at the last gate, and the bits
    per byte of `xz -9e` on the same text: alone, and if it follows the training text, as the
    model's does."""
    folder, entry = session.data.folder, session.ledger.entry(session.progress.stage)
    assert entry is not None
    return {
        domain: Score(loss, shards.num_tokens, int(shards.document_bytes.sum())).to_dict()
        | {
            "xz_bits_per_byte": xz_bits_per_byte(folder / domain),
            "xz_after_training_bits_per_byte": xz_after_training(session, domain),
            "synthetic": shards.synthetic,
        }
        for domain, shards in session.data.held_out.items()
        if (loss := entry.at_end.get(f"val/{domain}/loss")) is not None
    }


def continued(session: Session, prompts: Iterable[str], settings: SampleSettings) -> list[str]:
    """Return each prompt with the model's completion; prompts that fail only cause a warning.

    All ranks must call it, since a sharded model has to be gathered; only rank 0 gets texts.
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
    """Return the first words of a sentence of held-out text of the current stage, as a default
    prompt: a document may begin in the middle of one."""
    names = [stage.name for stage in session.recipe.stages]
    stage = session.recipe.stages[names.index(session.progress.stage)]
    shards = session.data.held_out[stage.domains()[0]]
    otherwise = ""
    for number in range(min(shards.num_documents, FIRST_DOCUMENTS)):
        ids = shards.document(number)[:-1][:FIRST_TOKENS].tolist()
        text = session.data.tokenizer.decode(ids)
        for start in _STARTS.finditer(text):
            words = text[start.end() :].split()
            prompt = " ".join(words[:PROMPT_WORDS])[:PROMPT_CHARS]
            is_cut = start.end() and len(words) <= PROMPT_WORDS
            if is_cut or not prompt.isprintable() or not any(map(str.isalpha, prompt)):
                continue
            if not next(filter(str.isalnum, prompt)).islower():
                return prompt
            otherwise = otherwise or prompt
    return otherwise


LONGEST_BYTES = 20_000_000
LONGEST_TRAINING_BYTES = 4_000_000


def xz_bits_per_byte(source: Path) -> float | None:
    """Return the bits per byte of `xz -9e` on a source's held-out text; None if that is longer than
    LONGEST_BYTES."""
    path = source / "held-out.txt"
    if path.stat().st_size > LONGEST_BYTES:
        return None
    content = path.read_bytes()
    return 8 * _xz_bytes(content) / len(content)


def xz_after_training(session: Session, domain: str) -> float | None:
    """Return the bits per byte by which a source's held-out text makes its training text longer
    under `xz -9e`; None if the text is synthetic, or longer than LONGEST_TRAINING_BYTES."""
    folder = session.data.folder / domain
    manifest = read_manifest(folder)
    if manifest.synthetic or manifest.splits["train"].bytes > LONGEST_TRAINING_BYTES:
        return None
    train = Shards(folder, manifest, "train")
    documents = (train.document(number)[:-1] for number in range(train.num_documents))
    texts = (session.data.tokenizer.decode(ids.tolist()) for ids in documents)
    before = "\n\n".join(texts).encode()
    content = (folder / "held-out.txt").read_bytes()
    return 8 * (_xz_bytes(before + content) - _xz_bytes(before)) / len(content)


def _xz_bytes(content: bytes) -> int:
    return len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))
