"""Folders of the `transformers` layout, read into our models and written from them.

No `transformers` is needed: a folder is JSON and safetensors. An architecture is a row of the table
in `architectures.py`.
"""

from yxanul.model.convert.architectures import ARCHITECTURES, Architecture
from yxanul.model.convert.read import is_pretrained, read_pretrained, read_settings
from yxanul.model.convert.write import write_pretrained

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "is_pretrained",
    "read_pretrained",
    "read_settings",
    "write_pretrained",
]
