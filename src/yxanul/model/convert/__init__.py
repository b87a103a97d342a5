"""Import and export of model folders in the `transformers` layout.

`transformers` itself is not needed: a folder is JSON and safetensors. An architecture is a
class in `architectures.py`.
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
