"""Document filters; each kind is a class in FILTERS."""

from yxanul.text.filters.filter import Filter
from yxanul.text.filters.length import token_bounds
from yxanul.text.filters.table import FILTERS, filters_digest, open_filters

__all__ = ["FILTERS", "Filter", "filters_digest", "open_filters", "token_bounds"]
