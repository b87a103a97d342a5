"""The whole model: embedding, blocks, norm, head.

Letters: B batch, T time, D width, V vocabulary, N = B T, X input features of the head.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from yxanul.base.errors import YxanulError
from yxanul.model.blocks.block import Block
from yxanul.model.blocks.embedding import Embedding
from yxanul.model.blocks.norm import NORMS
from yxanul.model.blocks.rope import Rope, rope_tables
from yxanul.model.blocks.side import Side, document_mask, document_positions, later_mask
from yxanul.model.cache import KvCache
from yxanul.model.config import ModelSettings
from yxanul.model.head import LossSum, linear_cross_entropy, token_losses

_OUTPUTS = ("attention.output.weight", "ffn.down.weight")
"""The projections back into the residual stream: they start smaller, as there are 2 depth."""


class LanguageModel(nn.Module):
    """A decoder-only transformer for settings whose vocabulary is known.

    Its weights are unset until `init_weights` draws them or a checkpoint is loaded.
    """

    rope_cos: Tensor | None
    rope_sin: Tensor | None

    def __init__(self, settings: ModelSettings):
        super().__init__()
        self.settings = settings
        self.embedding = Embedding(settings)
        self.blocks = nn.ModuleList(Block(settings, layer) for layer in range(settings.depth))
        self.norm = NORMS[settings.norm](settings.width, settings.norm_eps)
        self.head = None
        if settings.head == "untied":
            self.head = nn.Parameter(torch.empty(settings.num_stored_tokens, settings.width))
        self._set_rope(torch.get_default_device())

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Draw all weights from the generator, in a fixed order; gains are 1, padding rows 0."""
        std = self.settings.init_std
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(1.0)
                continue
            scale = (2 * self.settings.depth) ** -0.5 if name.endswith(_OUTPUTS) else 1.0
            values = torch.empty(parameter.shape, dtype=torch.float32, device=generator.device)
            parameter.copy_(values.normal_(0.0, std * scale, generator=generator))
        for table in (self.embedding.tokens, self.head):
            if table is not None:
                table[self.settings.num_tokens :] = 0.0

    def tables(self) -> list[nn.Parameter]:
        """Return the parameters that hold one row a token or a position."""
        found = (self.embedding.tokens, self.embedding.positions, self.head)
        return [table for table in found if table is not None]

    def forward(
        self, ids_BT: Tensor, targets_BT: Tensor, documents_BT: Tensor | None = None
    ) -> LossSum:
        """Return `loss`: what wrappers such as DDP call."""
        return self.loss(ids_BT, targets_BT, documents_BT)

    def loss(
        self, ids_BT: Tensor, targets_BT: Tensor, documents_BT: Tensor | None = None
    ) -> LossSum:
        """Return the sum of the cross-entropies in nats, and how many targets it covers."""
        x_NX, weight_VX = self._head(self.hidden(ids_BT, documents_BT))
        return linear_cross_entropy(x_NX, weight_VX, targets_BT.flatten(), self.settings.num_tokens)

    def token_losses(
        self, ids_BT: Tensor, targets_BT: Tensor, documents_BT: Tensor | None = None
    ) -> Tensor:
        """Return every target's cross-entropy in nats (BT, fp32, 0 where ignored), no gradient."""
        with torch.no_grad():
            x_NX, weight_VX = self._head(self.hidden(ids_BT, documents_BT))
        losses_N = token_losses(x_NX, weight_VX, targets_BT.flatten(), self.settings.num_tokens)
        return losses_N.view_as(targets_BT)

    def hidden(
        self, ids_BT: Tensor, documents_BT: Tensor | None = None, cache: KvCache | None = None
    ) -> Tensor:
        """Return the normalised residual stream after the last block, BTD.

        `documents_BT` numbers the documents of packed rows; it counts only if the settings ask
        for document masking. With a cache, `ids_BT` follow the tokens that it has seen.
        """
        positions, side = self._beside(ids_BT, documents_BT, cache)
        x_BTD = self.embedding(ids_BT, positions)
        for block in self.blocks:
            x_BTD = block(x_BTD, side)
        if cache is not None:
            cache.advance(ids_BT.shape[1])
        return self.norm(x_BTD)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return fp32 scores of the vocabulary (without its padding) for `hidden[..., D]`."""
        x_NX, weight_VX = self._head(hidden)
        logits = x_NX @ weight_VX[: self.settings.num_tokens].T
        return logits.float().view(*hidden.shape[:-1], -1)

    def _head(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the head's input NX and its weight VX, whatever kind of head it is."""
        x_NX = hidden.flatten(0, -2)
        if self.settings.head == "folded":
            assert self.embedding.projection is not None
            x_NX = x_NX @ self.embedding.projection.weight
        return x_NX, self.embedding.tokens if self.head is None else self.head

    def _beside(
        self, ids_BT: Tensor, documents_BT: Tensor | None, cache: KvCache | None
    ) -> tuple[Tensor | slice, Side]:
        """Return the tokens' positions and the side inputs of this pass."""
        num_seen, num_new = 0 if cache is None else cache.num_seen, ids_BT.shape[1]
        self._check_length(num_seen + num_new)
        positions, mask = slice(num_seen, num_seen + num_new), None
        if documents_BT is not None and self.settings.document_masking:
            positions, mask = document_positions(documents_BT), document_mask(documents_BT)
        elif num_seen:
            mask = later_mask(num_seen, num_new, ids_BT.device)
        rope = None
        if self.rope_cos is not None and self.rope_sin is not None:
            dtype = self.embedding.tokens.dtype
            rope = Rope(self.rope_cos, self.rope_sin).at(positions, dtype)
        return positions, Side(rope, mask, is_causal=not num_seen, cache=cache)

    def _check_length(self, length: int) -> None:
        if length > self.settings.max_seq_len:
            raise YxanulError(
                "the sequence is longer than the model's max_seq_len",
                found=f"{length} tokens",
                wanted=f"at most {self.settings.max_seq_len}",
            )

    def _set_rope(self, device: torch.device) -> None:
        tables = None, None
        if "rope" in self.settings.positions:
            settings = self.settings
            tables = rope_tables(settings.max_seq_len, settings.head_width, settings.rope_theta)
        for name, table in zip(("rope_cos", "rope_sin"), tables, strict=True):
            table = None if table is None else table.to(device)
            self.register_buffer(name, table, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LanguageModel:
        """Move or cast the model; the tables of RoPE are made anew and so stay fp32 and exact."""
        super()._apply(fn, recurse)
        self._set_rope(self.embedding.tokens.device)
        return self
