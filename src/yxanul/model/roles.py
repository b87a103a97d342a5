"""Parameter roles: the optimizer groups parameters by role, never by name."""

from __future__ import annotations

from typing import Literal

from yxanul.model.language_model import LanguageModel

Role = Literal["matrix", "embedding", "norm"]


def parameter_roles(model: LanguageModel) -> dict[str, Role]:
    """Map every parameter's name to its role.

    `embedding`: one row per token or position (embedding, learned positions, untied head);
    `norm`: gains of norms; `matrix`: everything else, all of it two-dimensional.
    """
    tables = {id(table) for table in model.tables()}
    roles: dict[str, Role] = {}
    for name, parameter in model.named_parameters():
        role: Role = "norm" if parameter.ndim == 1 else "matrix"
        roles[name] = "embedding" if id(parameter) in tables else role
    return roles
