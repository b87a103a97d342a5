"""Feed-forward layers: two gated (arXiv 2002.05202) and two plain ones.

Letters: B batch, T time, D width, F feed-forward width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from yxanul.model.blocks.linear import Linear
from yxanul.model.blocks.norm import is_eager_cpu


class Activation(NamedTuple):
    """Activation function and its backward pass, (grad_output, input, out)."""

    value: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]


def _silu_backward(grad: Tensor, x: Tensor, out: Tensor) -> Tensor:
    return torch.ops.aten.silu_backward.grad_input(grad, x, grad_input=out)


def _gelu_backward(grad: Tensor, x: Tensor, out: Tensor) -> Tensor:
    return torch.ops.aten.gelu_backward.grad_input(grad, x, approximate="tanh", grad_input=out)


def _squared_relu(x: Tensor) -> Tensor:
    return F.relu(x).square()


_gelu = partial(F.gelu, approximate="tanh")
SILU = Activation(F.silu, _silu_backward)
GELU = Activation(_gelu, _gelu_backward)


class GatedFfn(nn.Module):
    """down(activation(gate x) * (up x)); gate and up are one fused matrix."""

    def __init__(self, width: int, ffn_width: int, activation: Activation):
        super().__init__()
        self.gate_up = Linear(width, 2 * ffn_width)
        self.down = Linear(ffn_width, width)
        self.activation = activation

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the update of the residual stream, BTD."""
        return self.down(_gated(self.gate_up(x_BTD), self.activation))


class PlainFfn(nn.Module):
    """down(activation(up x))."""

    def __init__(self, width: int, ffn_width: int, activation: Callable[[Tensor], Tensor]):
        super().__init__()
        self.up = Linear(width, ffn_width)
        self.down = Linear(ffn_width, width)
        self.activation = activation

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the update of the residual stream, BTD."""
        return self.down(self.activation(self.up(x_BTD)))


def _gated(gate_up: Tensor, activation: Activation) -> Tensor:
    if is_eager_cpu(gate_up):
        return _Gate.apply(gate_up, activation)
    gate, up = gate_up.chunk(2, -1)
    return activation.value(gate) * up


class _Gate(torch.autograd.Function):
    """activation(gate) * up, for gate and up concatenated in one tensor.

    The backward pass writes both gradients into one tensor; autograd would concatenate copies.
    """

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor, activation: Activation) -> Tensor:
        gate, up = gate_up.chunk(2, -1)
        activated = activation.value(gate)
        ctx.save_for_backward(gate_up, activated)
        ctx.activation = activation
        return activated * up

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        gate_up, activated = ctx.saved_tensors
        (gate, up), d_gate_up = gate_up.chunk(2, -1), torch.empty_like(gate_up)
        d_gate, d_up = d_gate_up.chunk(2, -1)
        torch.mul(grad, activated, out=d_up)
        ctx.activation.backward(grad * up, gate, d_gate)
        return d_gate_up, None


FFNS: dict[str, Callable[[int, int], GatedFfn | PlainFfn]] = {
    "swiglu": partial(GatedFfn, activation=SILU),
    "geglu": partial(GatedFfn, activation=GELU),
    "gelu": partial(PlainFfn, activation=_gelu),
    "relu2": partial(PlainFfn, activation=_squared_relu),
}
