"""The printable characters that stand for the 256 bytes in a byte-level vocabulary (GPT-2)."""

from __future__ import annotations

from functools import cache


@cache
def byte_symbols() -> tuple[str, ...]:
    """Return the character of each byte 0..255: itself if printable, else from U+0100 upwards."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return tuple(chr(byte) if byte in printable else chr(next(spare)) for byte in range(256))


@cache
def _byte_of_symbol() -> dict[str, int]:
    return {symbol: byte for byte, symbol in enumerate(byte_symbols())}


def token_bytes(token: str) -> bytes:
    """Return the bytes of a byte-level token; any other token is encoded as UTF-8."""
    table = _byte_of_symbol()
    try:
        return bytes([table[symbol] for symbol in token])
    except KeyError:
        return token.encode()
