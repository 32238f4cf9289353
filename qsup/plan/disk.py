"""[[disk]] planned: the image chain of each disk, and nobody else writing to any of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import frozen

from qsup.plan.case import Case
from qsup.plan.emulator import SupportPlan
from qsup.plan.host_facts import ImageFacts
from qsup.plan.iothreads import IothreadSeat, iothread_seats, queue_threads
from qsup.plan.layout import Layout
from qsup.plan.ledger_index import image_keys
from qsup.plan.vmplan import DiskPlan, ImagePlan, IothreadPlan
from qsup.plan.wording import names_text
from qsup.spec.disk import DiskSpec

_LONGEST_CHAIN = 64


@frozen
class DisksPlan:
    """The disks in the file's order, and the iothreads that serve them."""

    disks: tuple[DiskPlan, ...]
    iothreads: tuple[IothreadPlan, ...]


def plan_disks(case: Case, slots: tuple[int, ...], support: SupportPlan, layout: Layout | None) -> DisksPlan:
    """The disks; images that are missing, broken, locked or written by somebody else are noted, each by path."""
    seats = iothread_seats(case, layout)
    disks = tuple(
        _disk(case, position, disk, slots[position], seats[position]) for position, disk in enumerate(case.spec.disks)
    )
    _check_own_sharing(case, disks)
    _check_other_vms(case, disks)
    several = layout is not None and len(layout.shares) > 1
    return DisksPlan(disks, tuple(_iothread(support, seat, several) for of_disk in seats for seat in of_disk))


def _iothread(support: SupportPlan, seat: IothreadSeat, several: bool) -> IothreadPlan:
    pin = support.iothread_pin(seat.iothread_id, seat.host_nodes)
    return IothreadPlan(seat.iothread_id, pin, seat.host_nodes if several else ())


def _disk(case: Case, position: int, disk: DiskSpec, slot: int, seats: tuple[IothreadSeat, ...]) -> DiskPlan:
    direct = disk.cache in ("none", "directsync")
    return DiskPlan(
        disk_id=f"disk{position}",
        chain=_chain(case, disk),
        readonly=disk.readonly,
        cache=disk.cache,
        aio=disk.aio or ("native" if direct else "threads"),
        discard=disk.discard,
        iothread_id=seats[0].iothread_id if seats else None,
        pci_slot=slot,
        serial=disk.serial,
        boot_index=position,
        queue_threads=queue_threads(seats),
    )


def _chain(case: Case, disk: DiskSpec) -> tuple[ImagePlan, ...]:
    """The image and all below it, top first; it ends where something is wrong with it."""
    chain: list[ImagePlan] = []
    path: str | None = disk.path
    image_format: Literal["qcow2", "raw"] | None = disk.format
    while path is not None and image_format is not None:
        image = case.facts.images.get(path)
        plan = _image(path, image_format, image, readonly=disk.readonly or bool(chain))
        if len(chain) >= _LONGEST_CHAIN or any(_same_file(above, plan) for above in chain):
            why = f"its backing chain comes back to itself, or is longer than {_LONGEST_CHAIN} images"
            hint = f"give it another backing file: qemu-img rebase -u -F FORMAT -b FILE {path}"
            _refuse_image(case, "plan.image-loop", path, why, hint)
            break
        chain.append(plan)
        if not _usable(case, plan, image) or image is None or image_format == "raw":
            break
        path, image_format = image.backing, _backing_format(case, image)
    return tuple(chain)


def _image(path: str, image_format: Literal["qcow2", "raw"], image: ImageFacts | None, *, readonly: bool) -> ImagePlan:
    if image is None:
        return ImagePlan(path, image_format, readonly)
    return ImagePlan(path, image_format, readonly, file_id=image.file_id, block_device=image.block_device)


def _same_file(one: ImagePlan, other: ImagePlan) -> bool:
    return not set(image_keys(one)).isdisjoint(image_keys(other))


def _usable(case: Case, plan: ImagePlan, image: ImageFacts | None) -> bool:
    """Whether the chain can be followed below this image; what is wrong with it is noted."""
    if image is None:
        _refuse_image(case, "plan.image-unusable", plan.path, "it was not found", _hint_of_path(plan.path))
        return False
    if image.problem is not None and not _lacks_backing_format(image):
        opened = f"set disk.format to what it is (`qemu-img info {plan.path}` tells), or restore the image"
        hint = _hint_of_path(plan.path) if image.file_id is None else opened
        _refuse_image(case, "plan.image-unusable", plan.path, image.problem, hint)
        return False
    _check_access(case, plan, image)
    return True


def _hint_of_path(path: str) -> str:
    return f"correct disk.path, create or mount the image, or let the daemon read it (`namei -l {path}` shows the rights)"


def _check_access(case: Case, plan: ImagePlan, image: ImageFacts) -> None:
    if not plan.readonly and not image.writable:
        hint = "set readonly = true, or give the daemon the right to write it"
        _refuse_image(case, "plan.image-not-writable", plan.path, "the daemon may not write it", hint)
    locked = image.written_by_other if plan.readonly else image.locked_by_other
    if locked and not _held_by_vms(case, plan):
        hint = f"find it with `fuser -v {plan.path}` and end it"
        _refuse_image(case, "plan.image-locked", plan.path, "another process holds its lock", hint)


def _held_by_vms(case: Case, plan: ImagePlan) -> bool:
    """Whether the lock is that of a VM of ours: this one (it runs), or another, which is named elsewhere."""
    own = case.own.plan.disks if case.own else ()
    mine = any(_same_file(image, plan) for disk in own for image in disk.chain)
    return mine or any(key in case.others.written or key in case.others.read for key in image_keys(plan))


def _lacks_backing_format(image: ImageFacts) -> bool:
    return image.backing is not None and image.backing_format is None


def _backing_format(case: Case, image: ImageFacts) -> Literal["qcow2", "raw"] | None:
    if image.backing is None:
        return None
    if image.backing_format == "qcow2":
        return "qcow2"
    if image.backing_format == "raw":
        return "raw"
    if image.backing_format is None:
        why = f"it names no format for its backing file {image.backing}, and formats are never guessed"
        hint = f"write it into the image: qemu-img rebase -u -F qcow2 -b {image.backing} {image.path} (or -F raw)"
    else:
        why = f"its backing file {image.backing} has the format {image.backing_format}; qcow2 and raw can be used"
        hint = f"convert it: qemu-img convert -O qcow2 {image.backing} NEW"
    _refuse_image(case, "plan.image-backing-format", image.path, why, hint)
    return None


def _refuse_image(case: Case, code: str, path: str, why: str, hint: str) -> None:
    message = f"the image {why}" if why.startswith(path) else f"the image {path} cannot be used: {why}"
    case.notes.refuse(code, message, hint=hint)


def _check_own_sharing(case: Case, disks: tuple[DiskPlan, ...]) -> None:
    uses: dict[str, list[ImagePlan]] = {}
    for disk in disks:
        for image in disk.chain:
            uses.setdefault(image_keys(image)[-1], []).append(image)
    for images in uses.values():
        if len(images) > 1 and not all(image.readonly for image in images):
            _refuse_image(
                case,
                "plan.image-written-twice",
                images[0].path,
                "two disks of this VM use it, and one of them writes it",
                "give each disk an image of its own, or set readonly = true for both",
            )


def _check_other_vms(case: Case, disks: tuple[DiskPlan, ...]) -> None:
    for image in {image.path: image for disk in disks for image in reversed(disk.chain)}.values():
        _check_claims(case, image, case.others.written, "writes")
        if not image.readonly:
            _check_claims(case, image, case.others.read, "uses")


def _check_claims(case: Case, image: ImagePlan, claims: Mapping[str, tuple[str, ...]], verb: str) -> None:
    names = sorted({name for key in image_keys(image) for name in claims.get(key, ())})
    if names:
        case.notes.refuse(
            "plan.image-held",
            f"the image {image.path} cannot be {'read' if image.readonly else 'written'} while {names_text(names)} {verb} it",
            held_by=tuple((name, f"{verb} it") for name in names),
            hint=f"stop {names_text(names)}, or give this VM an image of its own",
        )
