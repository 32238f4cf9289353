"""[[disk]]: an image and how it is driven."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from qsup.spec.faults import Faulty, Place, quoted
from qsup.spec.readers import one_of, true_or_false
from qsup.spec.schema import AT_START, GUEST_HARDWARE, Derived, key
from qsup.spec.words import absolute_path, matching

ImageFormat = Literal["qcow2", "raw"]
CacheMode = Literal["none", "writeback", "writethrough", "directsync", "unsafe"]
AioMode = Literal["native", "io_uring", "threads"]
DiscardMode = Literal["unmap", "ignore"]

FORMAT_OF_EXTENSION: dict[str, ImageFormat] = {"qcow2": "qcow2", "raw": "raw", "img": "raw", "iso": "raw"}
DIRECT_CACHE_MODES = ("none", "directsync")


def format_of_path(path: str, place: Place) -> ImageFormat | Faulty:
    """The format that a path's extension stands for; never guessed from the image's content, which the guest writes."""
    image_format = FORMAT_OF_EXTENSION.get(path.rpartition(".")[2])
    if image_format is not None:
        return image_format
    extensions = ", ".join(f".{extension}" for extension in FORMAT_OF_EXTENSION)
    message = f"{place}.format is missing, and the extension of {quoted(path)} does not say it: known are {extensions}"
    return place.report("format-unknown", message, 'add format = "qcow2" or format = "raw"')


@frozen
class DiskSpec:
    """What one `[[disk]]` asks.

    `format` is written or follows from the file's extension, never from its content. `aio` None means: native where the
    cache mode is none or directsync, else threads. `serial` is what the guest sees.
    """

    path: str = field(
        metadata=key(
            absolute_path("/srv/vm/web1.qcow2"),
            doc="The image, or a block device.",
            effect="cold-restart",
            reason=AT_START,
        ),
    )
    format: ImageFormat = field(
        metadata=key(
            one_of(ImageFormat),
            doc="The image's format; never guessed from its content.",
            derived=Derived("path", format_of_path),
            absent="by the extension: `.qcow2` is qcow2; `.raw`, `.img` and `.iso` are raw",
            effect="cold-restart",
            reason=AT_START,
        ),
    )
    readonly: bool = field(
        default=False,
        metadata=key(
            true_or_false(),
            doc="The guest cannot write; a read-only image may be used by several VMs.",
            effect="cold-restart",
            reason=GUEST_HARDWARE,
        ),
    )
    cache: CacheMode = field(
        default="none",
        metadata=key(
            one_of(CacheMode),
            doc="QEMU's cache mode: `none` and `directsync` pass by the host's page cache; `unsafe` ignores flushes.",
            effect="cold-restart",
            reason=AT_START,
        ),
    )
    aio: AioMode | None = field(
        default=None,
        metadata=key(
            one_of(AioMode),
            doc="How QEMU waits for the disk; `native` needs cache `none` or `directsync`.",
            absent="`native` with cache `none` or `directsync`, else `threads`",
            effect="cold-restart",
            reason=AT_START,
        ),
    )
    discard: DiscardMode = field(
        default="unmap",
        metadata=key(
            one_of(DiscardMode),
            doc="Whether space that the guest discards is given back to the host.",
            effect="cold-restart",
            reason=AT_START,
        ),
    )
    iothread: bool = field(
        default=True,
        metadata=key(
            true_or_false(),
            doc="The disk has a thread of its own, placed like the others, instead of QEMU's main loop.",
            effect="cold-restart",
            reason=AT_START,
        ),
    )
    serial: str | None = field(
        default=None,
        metadata=key(
            matching(r"[A-Za-z0-9._-]{1,20}", '1 to 20 letters, digits, ".", "_" and "-"', "bad-serial", "data-1"),
            doc="The serial number that the guest sees (`/dev/disk/by-id/virtio-SERIAL`).",
            absent="none",
            effect="cold-restart",
            reason=GUEST_HARDWARE,
        ),
    )


def native_aio_needs_direct_cache(disk: DiskSpec, place: Place) -> None:
    """Linux' native AIO blocks unless the page cache is passed by, and QEMU refuses the pair.

    Source: QEMU 7.2 block/file-posix.c: "aio=native was specified, but it requires cache.direct=on".
    """
    if disk.aio == "native" and disk.cache not in DIRECT_CACHE_MODES:
        message = f'{place}.aio = "native" with cache = "{disk.cache}": accepted with native is "none" or "directsync"'
        place.at("aio").report("aio-needs-direct", message, 'set cache = "none", or aio = "io_uring" or "threads"')


RULES = (native_aio_needs_direct_cache,)
