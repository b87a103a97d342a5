"""Language model: embedding, blocks, final norm, head.

Letters: B batch, T time, D width, V vocabulary, N = B T, X input features of the head.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from yxanul.base.errors import YxanulError
from yxanul.model.attention.backend import AttentionContext, Shape
from yxanul.model.attention.choice import choose
from yxanul.model.attention.mask import MaskSpec, Trees, document_positions
from yxanul.model.attention.sdpa import MaskedAttention
from yxanul.model.blocks.block import Block
from yxanul.model.blocks.embedding import Embedding
from yxanul.model.blocks.norm import NORMS
from yxanul.model.blocks.rope import RopeTables
from yxanul.model.cache import KvCache
from yxanul.model.compile import compiled
from yxanul.model.config import ModelSettings
from yxanul.model.context import ForwardContext
from yxanul.model.loss import (
    LossConfig,
    LossSum,
    capped,
    linear_cross_entropy,
    target_scores,
    token_scores,
)

Role = Literal["matrix", "embedding", "norm"]

RunBlock = Callable[[Block, Tensor, ForwardContext], Tensor]

_OUTPUTS = ("attention.output.weight", "ffn.down.weight")
"""Output projections into the residual stream: initialised smaller, as 2 depth of them add up."""


class LanguageModel(nn.Module):
    """Decoder-only transformer. The settings must have a vocab_size.

    Weights are uninitialised until `init_weights` is called or a checkpoint is loaded.
    """

    def __init__(self, settings: ModelSettings):
        super().__init__()
        self.settings = settings
        self.embedding = Embedding(settings)
        self.blocks = nn.ModuleList(Block(settings, layer) for layer in range(settings.depth))
        self.norm = NORMS[settings.norm](settings.width, settings.norm_eps)
        self.head = None
        if settings.head == "untied":
            self.head = nn.Parameter(torch.empty(settings.padded_vocab_size, settings.width))
        self.attention_backend = "auto"
        self.compiles = False  # the layers and (on a GPU) the loss, once per training shape
        self.checkpoint_every: int | None = None  # activation checkpointing of every n-th layer
        self._ropes = _rope_tables(settings)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Draw all weights from the generator, in a fixed order.

        Norms start as the identity scale; padding rows of the tables are 0.
        """
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(NORMS[self.settings.norm].start)
                continue
            values = torch.empty(parameter.shape, dtype=torch.float32, device=generator.device)
            parameter.copy_(values.normal_(0.0, self._init_std(name), generator=generator))
        for table in (self.embedding.tokens, self.head):
            if table is not None:
                table[self.settings.known_vocab_size :] = 0.0

    def _init_std(self, name: str) -> float:
        settings = self.settings
        if name == "head":
            return settings.head_init_std or settings.init_std
        scale = (2 * settings.depth) ** -0.5 if name.endswith(_OUTPUTS) else 1.0
        return settings.init_std * scale

    def layers(self) -> list[Block]:
        """Return the blocks, first to last."""
        return [cast(Block, block) for block in self.blocks]

    def parameter_roles(self) -> dict[str, Role]:
        """Map every parameter's name to its role, by which the optimizer groups them.

        `embedding`: one row per token or position (embedding, learned positions, untied head);
        `norm`: gains of norms; `matrix`: everything else, all of it two-dimensional.
        """
        tables = ("embedding.tokens", "embedding.positions", "head")
        return {
            name: "embedding" if name in tables else "norm" if parameter.ndim == 1 else "matrix"
            for name, parameter in self.named_parameters()
        }

    def forward(
        self, ids_BT: Tensor, targets_BT: Tensor, documents_BT: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return `loss` as (total, cross_entropy): DDP and FSDP find tensors only in tuples."""
        loss = self.loss(ids_BT, targets_BT, documents_BT)
        return loss.total, loss.cross_entropy

    def loss(
        self, ids_BT: Tensor, targets_BT: Tensor, documents_BT: Tensor | None = None
    ) -> LossSum:
        """Return the summed cross-entropy in nats and the number of targets."""
        x_NX, weight_VX = self._head(self.hidden(ids_BT, documents_BT))
        return linear_cross_entropy(x_NX, weight_VX, targets_BT.flatten(), self._loss_config())

    def token_scores(
        self, ids_BT: Tensor, targets_BT: Tensor, documents_BT: Tensor | None = None
    ) -> Tensor:
        """Return the cross-entropy per target in nats, and 1 where no token is more probable than
        the target: 2BT, fp32, 0 where ignored; no gradient."""
        with torch.no_grad():
            x_NX, weight_VX = self._head(self.hidden(ids_BT, documents_BT))
        scores_2N = token_scores(x_NX, weight_VX, targets_BT.flatten(), self._loss_config())
        return scores_2N.view(2, *targets_BT.shape)

    def hidden(
        self,
        ids_BT: Tensor,
        documents_BT: Tensor | None = None,
        cache: KvCache | None = None,
        trees: Trees | None = None,
    ) -> Tensor:
        """Return the hidden states after the final norm, BTD.

        `documents_BT` numbers the documents of packed rows; it is used only with
        document_masking. With a cache, `ids_BT` continue the cached tokens. With trees, rows hold
        several texts that share their beginnings.
        """
        if trees is None:
            positions, context = self.forward_context(ids_BT, documents_BT, cache)
        else:
            positions, context = trees.positions_BT, self._tree_context(trees)
        x_BTD = self.embedding(ids_BT, positions)
        trains = torch.is_grad_enabled()
        run = compiled(run_block) if self.compiles and trains else run_block
        every = self.checkpoint_every if trains and cache is None else None
        for number, block in enumerate(self.layers(), start=1):
            layer = run if every is None or number % every else partial(_checkpointed, run)
            x_BTD = layer(block, x_BTD, context)
        if cache is not None:
            cache.advance(ids_BT.shape[1])
        return self.norm(x_BTD)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return fp32 logits over the vocabulary (without padding) for `hidden[..., D]`."""
        return capped(self.uncapped_logits(hidden), self.settings.logit_soft_cap)

    def target_scores(
        self, hidden_ND: Tensor, row_U: Tensor, target_U: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the log-probability of each target after the hidden state of its row, U in fp32,
        and whether it is the most likely token; no gradient."""
        with torch.no_grad():
            x_NX, weight_VX = self._head(hidden_ND)
        return target_scores(x_NX, weight_VX, row_U, target_U, self._loss_config())

    def uncapped_logits(self, hidden: Tensor) -> Tensor:
        """Return the logits before soft-capping, in fp32."""
        x_NX, weight_VX = self._head(hidden)
        logits = x_NX @ weight_VX[: self.settings.known_vocab_size].T
        return logits.float().view(*hidden.shape[:-1], -1)

    def _loss_config(self) -> LossConfig:
        settings, on_gpu = self.settings, self.embedding.tokens.device.type == "cuda"
        return LossConfig(
            settings.known_vocab_size,
            settings.logit_soft_cap,
            settings.z_loss,
            compiled=self.compiles and on_gpu,  # on a CPU the in-place version is faster
        )

    def _head(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the head's input NX and weight VX."""
        x_NX = hidden.reshape(-1, hidden.shape[-1])
        if self.settings.head == "folded":
            assert self.embedding.projection is not None
            x_NX = x_NX @ self.embedding.projection.weight
        return x_NX, self.embedding.tokens if self.head is None else self.head

    def forward_context(
        self, ids_BT: Tensor, documents_BT: Tensor | None, cache: KvCache | None
    ) -> tuple[Tensor | slice, ForwardContext]:
        """Return the positions of the tokens and the context of this forward pass."""
        num_seen, num_new = 0 if cache is None else cache.num_seen, ids_BT.shape[1]
        self._check_length(num_seen + num_new)
        if not self.settings.document_masking or num_seen:
            documents_BT = None
        positions = slice(0, num_new) if cache is None else cache.positions(num_new)
        if documents_BT is not None:
            positions = document_positions(documents_BT)
        weight = self.embedding.tokens
        end = num_new if cache is None else cache.length
        ropes = {k: r.at(positions, end, weight) for k, r in self._ropes.items()}
        if cache is not None and num_seen:
            return positions, ForwardContext(ropes, cache.attention(num_new, ids_BT.device), cache)
        attention = {
            kind: self._attention_context(kind, ids_BT, documents_BT)
            for kind in set(self.settings.layer_kinds)
        }
        return positions, ForwardContext(ropes, attention, cache)

    def _tree_context(self, trees: Trees) -> ForwardContext:
        positions_BT, weight = trees.positions_BT, self.embedding.tokens
        end = int(positions_BT.max()) + 1
        self._check_length(end)
        return ForwardContext(
            {kind: rope.at(positions_BT, end, weight) for kind, rope in self._ropes.items()},
            {
                kind: MaskedAttention(trees.mask(self._window(kind)))
                for kind in set(self.settings.layer_kinds)
            },
        )

    def _attention_context(
        self, kind: str, ids_BT: Tensor, documents_BT: Tensor | None
    ) -> AttentionContext:
        """Return mask and backend for the layers of one kind, for a pass over whole sequences."""
        settings, weight = self.settings, self.embedding.tokens
        batch, length = ids_BT.shape
        window = self._window(kind)
        shape = Shape(
            weight.device.type,
            weight.dtype,
            batch,
            length,
            settings.num_heads,
            settings.num_kv_heads,
            settings.head_width,
            None if window is None or window >= length else window,
            documents_BT is not None,
        )
        backend = choose(shape, self.attention_backend, torch.is_grad_enabled())
        return backend.context(MaskSpec(shape.window, documents_BT), shape, weight.device)

    def _window(self, kind: str) -> int | None:
        return self.settings.window if kind == "L" else None

    def _check_length(self, length: int) -> None:
        if length > self.settings.max_seq_len:
            raise YxanulError(
                "the sequence is longer than the model's max_seq_len",
                got=f"{length} tokens",
                expected=f"at most {self.settings.max_seq_len}",
            )


def run_block(block: Block, x_BTD: Tensor, context: ForwardContext) -> Tensor:
    """Return the residual stream after the layer, BTD.

    As a function, its compiled graph takes the parameters as inputs, so that one graph serves all
    layers: compiling takes seconds, not minutes.
    """
    return block(x_BTD, context)


def _checkpointed(run: RunBlock, block: Block, x_BTD: Tensor, context: ForwardContext) -> Tensor:
    """Run a layer, keeping only its input: the backward pass recomputes its activations (activation
    checkpointing, Chen et al. 2016, arXiv 1604.06174).

    No RNG state is saved: nothing in a layer is random, so recomputation is bitwise equal.
    """
    return checkpoint(run, block, x_BTD, context, use_reentrant=False, preserve_rng_state=False)


def _rope_tables(settings: ModelSettings) -> dict[str, RopeTables]:
    """Return the RoPE tables by kind of layer; empty without RoPE."""
    if "rope" not in settings.positions:
        return {}
    theta = {"G": settings.rope_theta, "L": settings.rope_theta_local or settings.rope_theta}
    return {
        kind: RopeTables(settings.head_width, theta[kind], settings.max_seq_len)
        for kind in sorted(set(settings.layer_kinds))
    }
