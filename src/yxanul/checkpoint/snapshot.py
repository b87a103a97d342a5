"""CPU copies of tensors for asynchronous checkpoint saves."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from yxanul.checkpoint.write import place_of


class Snapshot:
    """CPU buffers for one set of tensors, reused by later copies of the same set.

    Holds one copy of each tensor, whatever the number of saves. GPU tensors are copied into pinned
    memory asynchronously, with one wait at the end.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, str], torch.Tensor] = {}

    def take(
        self, tensors: Mapping[str, Mapping[str, torch.Tensor]]
    ) -> dict[str, dict[str, torch.Tensor]]:
        """Return copies of the tensors (by file, by name), valid until the next call.

        Tied weights stay tied: one copy under several names.
        """
        before, self._buffers = self._buffers, {}
        copies: dict[str, dict[str, torch.Tensor]] = {stem: {} for stem in tensors}
        first_of: dict[object, torch.Tensor] = {}
        devices: set[torch.device] = set()
        for stem, name, tensor in _flat(tensors):
            key = place_of(tensor) if tensor.numel() else (stem, name)
            if key not in first_of:
                buffer = _fitting(before.pop((stem, name), None), tensor)
                buffer.copy_(tensor.detach(), non_blocking=tensor.is_cuda)
                first_of[key] = self._buffers[stem, name] = buffer
                devices |= {tensor.device} if tensor.is_cuda else set()
            copies[stem][name] = first_of[key]
        _wait_for(devices)
        return copies

    def forget(self) -> None:
        """Free the buffers."""
        self._buffers = {}


def _flat(tensors: Mapping[str, Mapping[str, torch.Tensor]]):
    for stem, named in tensors.items():
        for name, tensor in named.items():
            yield stem, name, tensor


def _fitting(buffer: torch.Tensor | None, tensor: torch.Tensor) -> torch.Tensor:
    """Return the buffer if its shape and dtype match `tensor`, or else a new one."""
    if buffer is not None and (buffer.shape, buffer.dtype) == (tensor.shape, tensor.dtype):
        return buffer
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=tensor.is_cuda)


def _wait_for(devices: set[torch.device]) -> None:
    """Wait for the copies enqueued on each GPU's current stream."""
    events: list[torch.cuda.Event] = []
    for device in devices:
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(device))
        events.append(event)
    for event in events:
        event.synchronize()
