"""Model of lm-evaluation-harness: its tasks, scored by our scorer.

from lm_eval import simple_evaluate
simple_evaluate(HarnessModel(bundle.model, bundle.tokenizer, bundle.seq_len), tasks=["arc_easy"])
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from yxanul.base.chat import render_chat
from yxanul.base.errors import missing_package
from yxanul.eval.loglikelihood import log_likelihoods
from yxanul.eval.requests import Request, common_prefix
from yxanul.generate.config import SampleSettings
from yxanul.generate.decode import complete_ids
from yxanul.model.language_model import LanguageModel
from yxanul.tokenizer.tokenizer import Tokenizer

try:
    from lm_eval.api.model import TemplateLM
    from lm_eval.models.utils import normalize_gen_kwargs
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
    from tqdm import tqdm
except ImportError:
    raise missing_package("lm_eval", "eval") from None


class HarnessModel(TemplateLM):
    """A model of ours for `simple_evaluate`, equal to its `hf` model on an exported folder."""

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        max_length: int | None = None,
        batch_size: int = 16,
    ):
        """Wrap a model in fp32; `max_length` defaults to its max_seq_len, and `batch_size` is that
        of generated answers."""
        super().__init__()
        self.model = model
        self.tokenizer: Any = tokenizer  # the base class reads its chat_template
        self.max_length = max_length or model.settings.max_seq_len
        self.batch_size = batch_size
        self._device = model.embedding.tokens.device

    @property
    def eot_token_id(self) -> int:
        """Id of the end of text."""
        return self.tokenizer.end_of_text_id

    @property
    def prefix_token_id(self) -> int:
        """Id before a text without a context."""
        return self.tokenizer.bos_id

    @property
    def tokenizer_name(self) -> str:
        """Digest of the tokenizer, for lm-eval's cache of requests."""
        return self.tokenizer.digest

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Return the text of a chat in the tokenizer's template, or a plain one."""
        template = self.tokenizer.chat_template or "plain"
        return render_chat(chat_history, template, add_generation_prompt)

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """Return the ids; bos comes first if the tokenizer itself puts it there, but only once."""
        if add_special_tokens is False or not self.tokenizer.puts_bos_first:
            return self.tokenizer.encode(string)
        bos = self.tokenizer.tokens([self.prefix_token_id])[0]
        return [self.prefix_token_id, *self.tokenizer.encode(string.removeprefix(bos))]

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """As in lm-eval; where one token swallows all of the continuation, it is scored, and a
        context of blanks counts as none."""
        before, after = super()._encode_pair(context, continuation)
        if after:
            return before or [self.prefix_token_id], after
        whole = self.tok_encode(context + continuation)
        cut = common_prefix(before, whole[:-1])
        return whole[:cut] or [self.prefix_token_id], whole[cut:]

    def _loglikelihood_tokens(
        self,
        requests: Sequence[tuple[Any, list[int], list[int]]],
        disable_tqdm: bool = False,
        **kwargs: Any,
    ) -> list[tuple[float, bool]]:
        asked = [Request(context, continuation) for _, context, continuation in requests]
        found: dict[int, tuple[float, bool]] = {}
        with tqdm(total=len(asked), desc="log-likelihoods", disable=disable_tqdm) as bar:
            for batch in log_likelihoods(self.model, asked, self.max_length):
                for number, score in batch.items():
                    found[number] = (score.nats, score.is_greedy)
                    if (texts := requests[number][0]) is not None:
                        self.cache_hook.add_partial("loglikelihood", texts, found[number])
                bar.update(len(batch))
        return [found[number] for number in range(len(asked))]

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        """Return the log-likelihood of each whole text, in windows that share one token."""
        windows: list[tuple[Any, list[int], list[int]]] = []
        counts = []
        for (text,) in (request.args for request in requests):
            rolling = get_rolling_token_windows(
                self.tok_encode(text), self.prefix_token_id, self.max_length, context_len=1
            )
            before = len(windows)
            windows += [(None, *make_disjoint_window(window)) for window in rolling]
            counts.append(len(windows) - before)
        scores = iter(self._loglikelihood_tokens(windows, disable_tqdm))
        sums = [sum(next(scores)[0] for _ in range(count)) for count in counts]
        for request, total in zip(requests, sums, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return sums

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        """Return the answers; prompts are cut on the left to leave room for them."""
        answers: dict[int, str] = {}
        with tqdm(total=len(requests), desc="answers", disable=disable_tqdm) as bar:
            for settings, numbers in self._generation_batches(requests):
                prompts = [self.tok_encode(requests[n].args[0]) for n in numbers]
                kept = self.max_length - settings.max_tokens
                prompts = [ids[-kept:] or [self.prefix_token_id] for ids in prompts]
                done = complete_ids(self.model, self.tokenizer, prompts, settings)
                for number, completion in zip(numbers, done, strict=True):
                    answers[number] = completion.text
                    args = requests[number].args
                    self.cache_hook.add_partial("generate_until", args, completion.text)
                bar.update(len(numbers))
        return [answers[number] for number in range(len(requests))]

    def _generation_batches(self, requests: Any) -> Iterator[tuple[SampleSettings, list[int]]]:
        """Yield the numbers of requests with the same settings, of similar length."""
        settings = [self._settings_of(request.args[1]) for request in requests]
        keys = [one.model_dump_json() for one in settings]
        order = sorted(range(len(keys)), key=lambda n: (keys[n], len(requests[n].args[0])))
        for _, same in groupby(order, keys.__getitem__):
            numbers = list(same)
            for start in range(0, len(numbers), self.batch_size):
                batch = numbers[start : start + self.batch_size]
                yield settings[batch[0]], batch

    def _settings_of(self, options: dict[str, Any]) -> SampleSettings:
        plain: dict[str, Any] = {**normalize_gen_kwargs(options)}
        return SampleSettings(
            max_tokens=max(1, min(plain["max_gen_toks"], self.max_length // 2)),
            temperature=plain.get("temperature", 0.0),
            top_k=plain.get("top_k"),
            top_p=plain.get("top_p"),
            stop=tuple(text for text in plain["until"] if text),
        )
