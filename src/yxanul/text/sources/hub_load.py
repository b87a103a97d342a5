"""Loading a data set of the hub through `datasets`, whole or row by row as it is read."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from yxanul.base.errors import missing_package
from yxanul.text.sources.hub_query import HubQuery
from yxanul.text.sources.retry import patiently

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset


@lru_cache(maxsize=8)
def load_whole(wanted: HubQuery) -> Dataset:
    """Return the data set, downloaded and built the first time; one process opens it once.

    The token is the client's own: HF_TOKEN, or that of `hf auth login`.
    """
    return _load(wanted, streaming=False)


@lru_cache(maxsize=8)
def load_streamed(wanted: HubQuery) -> IterableDataset:
    """Return the data set, of which nothing is read before its rows are asked for."""
    return _load(wanted, streaming=True)


def _load(wanted: HubQuery, streaming: bool) -> Any:
    try:
        import datasets
    except ImportError:
        raise missing_package("datasets", "data") from None
    name, config, split = wanted.name, wanted.config, wanted.split
    return patiently(
        wanted,
        lambda: datasets.load_dataset(
            name, config, split=split, streaming=streaming, **wanted.options
        ),
    )
