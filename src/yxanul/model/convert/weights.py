"""Weight files of a `transformers` folder: one safetensors file, or shards with an index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from yxanul.base.errors import YxanulError
from yxanul.base.files import read_json

WEIGHTS = "model.safetensors"
_INDEX = f"{WEIGHTS}.index.json"
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_IGNORED = "rotary_emb.inv_freq"
"""A buffer in old checkpoints that is derived from the settings."""


class WeightFiles:
    """Tensors of a folder by name, read one at a time."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._files: dict[str, Path] = {}
        for path in weight_files(folder):
            self._index(path)

    def check(self, expected: Mapping[str, tuple[int, ...]], architecture: str) -> None:
        """Raise one error that lists missing and unknown tensors and wrong shapes."""
        problems = [
            *(f"{name} is missing" for name in expected if name not in self._shapes),
            *(f"{name} is unknown" for name in self._shapes if name not in expected),
            *(
                f"{name} is {_by(self._shapes[name])} instead of {_by(shape)}"
                for name, shape in expected.items()
                if self._shapes.get(name, shape) != shape
            ),
        ]
        if problems:
            raise YxanulError(
                f"the weights in {self.folder} do not match the {architecture} of its config.json",
                got=_listed(problems),
            )

    def __contains__(self, name: str) -> bool:
        return name in self._shapes

    def forget(self, name: str) -> None:
        """Ignore a tensor from now on."""
        del self._shapes[name], self._files[name]

    def read(self, name: str) -> Tensor:
        """Return a tensor in fp32."""
        path = self._files[name]
        try:
            with safe_open(path, framework="pt") as file:
                tensor: Tensor = file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise _unreadable(path, error) from None
        if tensor.dtype not in _DTYPES:
            supported = ", ".join(str(dtype).removeprefix("torch.") for dtype in _DTYPES)
            dtype = str(tensor.dtype).removeprefix("torch.")
            raise YxanulError(f"{path}: unsupported dtype of {name}", got=dtype, expected=supported)
        return tensor.float()

    def _index(self, path: Path) -> None:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a dictionary
                    if not name.endswith(_IGNORED):
                        self._shapes[name] = tuple(file.get_slice(name).get_shape())
                        self._files[name] = path
        except (SafetensorError, OSError) as error:
            raise _unreadable(path, error) from None


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder; raise if it has none."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / _INDEX).is_file():
        index = read_json(folder / _INDEX)
        names = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(names, dict):
            raise YxanulError(f"{folder / _INDEX} has no weight_map")
        return [folder / Path(str(name)).name for name in sorted(set(names.values()), key=str)]
    pickled = sorted(path.name for path in folder.glob("pytorch_model*"))
    raise YxanulError(
        f"{folder} has no {WEIGHTS}",
        got=pickled[0] if pickled else None,
        hint="pickled weights can run code when loaded: if you trust them, load them with "
        "transformers and write safetensors with model.save_pretrained(folder)"
        if pickled
        else None,
    )


def _unreadable(path: Path, error: Exception) -> YxanulError:
    if not path.is_file():
        return YxanulError(f"{path} is missing")
    return YxanulError(f"{path} is not a complete safetensors file", got=error)


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "a scalar"


def _listed(problems: Sequence[str], limit: int = 6) -> str:
    more = [f"{len(problems) - limit} more"] if len(problems) > limit else []
    return ", ".join([*problems[:limit], *more])
