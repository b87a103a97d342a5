"""Answers that a model generates for the prompts of a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from yxanul.base.errors import YxanulError
from yxanul.base.seeds import derive_seed
from yxanul.eval.generated import Completions, GeneratedTask
from yxanul.generate.config import SampleSettings
from yxanul.generate.decode import complete_ids
from yxanul.model.language_model import LanguageModel
from yxanul.tokenizer.tokenizer import Tokenizer

BATCH_TOKENS = 16_384


def generate_answers(
    model: LanguageModel,
    tokenizer: Tokenizer,
    settings: SampleSettings,
    seq_len: int,
    task: GeneratedTask,
    prompts: Mapping[int, str],
) -> Iterator[dict[int, Completions]]:
    """Yield `num_samples` answers to each prompt, batch by batch, by the prompt's number.

    Stop strings and max_tokens are the task's. A prompt that leaves no room for max_tokens (at most
    half of `seq_len`) loses tokens at its start. Greedy answers are computed in batches; sampled
    ones document by document, so that they depend on the seed and the document's number only.
    """
    num_samples, is_greedy = settings.num_samples, settings.temperature == 0
    if is_greedy and num_samples > 1:
        raise YxanulError(
            "greedy decoding gives the same answer each time",
            got=f"{num_samples} samples",
            hint="sample with a temperature above 0",
        )
    max_tokens = min(task.max_tokens, seq_len // 2)
    whole = {n: [tokenizer.bos_id, *tokenizer.encode(text)] for n, text in prompts.items()}
    read = {n: ids[max_tokens - seq_len :] for n, ids in whole.items()}
    for batch in _batches(read, max_tokens) if is_greedy else ([n] for n in read):
        rows = [read[n] for n in batch for _ in range(num_samples)]
        seed = derive_seed(settings.seed, "document", batch[0])
        own = {"max_tokens": max_tokens, "stop": task.stop, "seed": seed}
        done = complete_ids(model, tokenizer, rows, settings.model_copy(update=own))
        texts = iter([completion.text for completion in done])
        yield {
            n: Completions(tuple(islice(texts, num_samples)), len(whole[n]) - len(read[n]))
            for n in batch
        }


def _batches(prompts: Mapping[int, Sequence[int]], max_tokens: int) -> Iterator[list[int]]:
    """Yield the numbers of prompts that are generated together, the longest first."""
    left = sorted(prompts, key=lambda n: -len(prompts[n]))
    while left:
        rows = max(1, BATCH_TOKENS // (len(prompts[left[0]]) + max_tokens))
        yield left[:rows]
        left = left[rows:]
