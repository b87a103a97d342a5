"""Copies of tensors as they are now, so that training may go on while they are written."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from yxanul.checkpoint.write import place_of


class Snapshot:
    """Buffers on the CPU for one set of tensors; the next copy of the same set uses them again.

    Beside the tensors themselves it holds one copy of each, whatever the number of saves. From a
    GPU it copies into pinned memory, all at once, and waits for the last byte.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, str], torch.Tensor] = {}

    def take(
        self, tensors: Mapping[str, Mapping[str, torch.Tensor]]
    ) -> dict[str, dict[str, torch.Tensor]]:
        """Return copies of the tensors (by file, by name) that hold until the next call.

        What was one tensor under several names (tied weights) is one copy under these names.
        """
        before, self._buffers = self._buffers, {}
        copies: dict[str, dict[str, torch.Tensor]] = {stem: {} for stem in tensors}
        first_of: dict[object, torch.Tensor] = {}
        devices: set[torch.device] = set()
        for stem, name, tensor in _flat(tensors):
            place = place_of(tensor) if tensor.numel() else (stem, name)
            if place not in first_of:
                buffer = _fitting(before.pop((stem, name), None), tensor)
                buffer.copy_(tensor.detach(), non_blocking=tensor.is_cuda)
                first_of[place] = self._buffers[stem, name] = buffer
                devices |= {tensor.device} if tensor.is_cuda else set()
            copies[stem][name] = first_of[place]
        _wait_for(devices)
        return copies

    def forget(self) -> None:
        """Give the memory back."""
        self._buffers = {}


def _flat(tensors: Mapping[str, Mapping[str, torch.Tensor]]):
    for stem, named in tensors.items():
        for name, tensor in named.items():
            yield stem, name, tensor


def _fitting(buffer: torch.Tensor | None, tensor: torch.Tensor) -> torch.Tensor:
    """Return the buffer if `tensor` fits in it exactly, or else a new one."""
    if buffer is not None and (buffer.shape, buffer.dtype) == (tensor.shape, tensor.dtype):
        return buffer
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=tensor.is_cuda)


def _wait_for(devices: set[torch.device]) -> None:
    """Wait until the copies that were begun on each GPU's current stream are complete."""
    events: list[torch.cuda.Event] = []
    for device in devices:
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(device))
        events.append(event)
    for event in events:
        event.synchronize()
