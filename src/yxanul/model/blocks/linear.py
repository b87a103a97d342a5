"""Linear layer without bias, initialised by `LanguageModel.init_weights`."""

from __future__ import annotations

from torch import nn


class Linear(nn.Linear):
    """y = x W^T. Weights are uninitialised until the model initialises or loads them."""

    def __init__(self, width_in: int, width_out: int):
        super().__init__(width_in, width_out, bias=False)

    def reset_parameters(self) -> None:
        """Do nothing: the model initialises all weights from a given generator."""
