"""Text files of other programs, in the encodings that these write."""

from __future__ import annotations

import codecs


def decode_text(data: bytes) -> str:
    """Return a text by its mark of byte order, as PowerShell and Notepad write UTF-16, else as UTF-8.

    Raises
    ------
    UnicodeDecodeError
        If it is neither.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")
