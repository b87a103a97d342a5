"""Query for a dataset on the Hugging Face hub, and errors for failed requests."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from yxanul.base.errors import YxanulError, did_you_mean
from yxanul.text.config import HubSettings


class HubQuery(NamedTuple):
    """Everything that determines which rows are read."""

    name: str
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    data_files: str | tuple[str, ...] | None = None

    @classmethod
    def of(cls, settings: HubSettings) -> HubQuery:
        """Return the query of `settings`."""
        return cls(*(getattr(settings, name) for name in cls._fields))

    @property
    def is_local(self) -> bool:
        """Whether it is a local folder."""
        return self.name.startswith((".", "/"))

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit."""
        return bool(re.fullmatch(r"[0-9a-f]{40}", self.revision or ""))

    @property
    def options(self) -> dict[str, Any]:
        """Options of `load_dataset` for the revision and the files."""
        files = self.data_files
        chosen = list(files) if isinstance(files, tuple) else files
        return {"revision": self.revision, "data_files": chosen}


def is_offline() -> bool:
    """Return whether offline mode is on (HF_HUB_OFFLINE or HF_DATASETS_OFFLINE)."""
    words = (os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"))
    return any(word.upper() in ("1", "ON", "YES", "TRUE") for word in words)


def refusal(query: HubQuery, causes: Sequence[BaseException]) -> YxanulError | None:
    """Return the user's error for a known refusal of the hub or of `datasets`, else None."""
    name = f"the dataset '{query.name}'"
    missing = YxanulError(
        f"the hub has no dataset '{query.name}', or it is private",
        hint="check owner and name; if it is private, set HF_TOKEN",
    )
    gated = YxanulError(
        f"{name} is gated",
        hint="request access on its page, then set HF_TOKEN to a token of that account",
    )
    empty = YxanulError(f"{name} has no readable data files")
    errors_by_sign = {  # the name of an exception or words of its message, most specific first
        "Invalid credentials": YxanulError(
            f"the hub rejected the token for '{query.name}'",
            hint="set HF_TOKEN to a valid token, or run 'hf auth login'",
        ),
        "GatedRepoError": gated,
        "gated dataset": gated,
        "RevisionNotFoundError": YxanulError(
            f"{name} has no revision '{query.revision}'", expected="a branch, a tag or a commit"
        ),
        "HFValidationError": YxanulError(
            f"'{query.name}' is not a valid dataset name",
            expected="owner/name, such as roneneldan/TinyStories",
        ),
        "DatasetNotFoundError": missing,
        "RepositoryNotFoundError": missing,
        "403 Forbidden": YxanulError(
            f"no permission to read {name}",
            got="403 Forbidden",
            hint="set HF_TOKEN to a token that may read it",
        ),
        "EmptyDatasetError": empty,
        "DataFilesNotFoundError": empty,
        "Dataset scripts are no longer supported": YxanulError(
            f"{name} needs a loading script, which `datasets` no longer runs",
            hint="revision: refs/convert/parquet often has the same data without a script",
        ),
    }
    for sign, error in errors_by_sign.items():
        if any(has_class(cause, sign) or sign in str(cause) for cause in causes):
            return error
    return _unknown_choice(query, str(causes[0]))


def _unknown_choice(query: HubQuery, message: str) -> YxanulError | None:
    """Return the error for a configuration or split that `datasets` did not find."""
    listed = re.search(r"\[\s*'.*?\]", message, re.DOTALL)
    choices = ast.literal_eval(listed[0]) if listed else []
    if "config" in message.lower() and choices:
        has = f"no configuration '{query.config}'" if query.config else "several configurations"
        return unknown_choice(f"'{query.name}' has {has}", query.config or "", choices, "config")
    if "split" in message.lower() and choices:
        what = f"'{query.name}' has no split '{query.split}'"
        return unknown_choice(what, query.split, choices, "split")
    return None


def unknown_choice(what: str, asked: str, choices: Sequence[str], setting: str) -> YxanulError:
    """Return the error for a name that is not one of `choices`."""
    shown = ", ".join(f"'{choice}'" for choice in choices[:20])
    if len(choices) > 20:
        shown += f" and {len(choices) - 20} more"
    hint = did_you_mean(asked, choices) or f"choose one with {setting}"
    return YxanulError(f"the dataset {what}", expected=shown, hint=hint)


def has_class(error: BaseException, *names: str) -> bool:
    """Return whether the error's class or a base class has one of these names."""
    return any(kind.__name__ in names for kind in type(error).__mro__)
