"""[[disk]]: an image and how it is driven."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

ImageFormat = Literal["qcow2", "raw"]
CacheMode = Literal["none", "writeback", "writethrough", "directsync", "unsafe"]
AioMode = Literal["native", "io_uring", "threads"]
DiscardMode = Literal["unmap", "ignore"]


@frozen
class DiskSpec:
    """What one `[[disk]]` asks.

    `format` is written or follows from the file's extension, never from its content. `aio` None means: native where the
    cache mode is none or directsync, else threads. `serial` is what the guest sees.
    """

    path: str
    format: ImageFormat
    readonly: bool = False
    cache: CacheMode = "none"
    aio: AioMode | None = None
    discard: DiscardMode = "unmap"
    iothread: bool = True
    serial: str | None = None
