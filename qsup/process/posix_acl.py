"""The access ACL of a file as the kernel keeps it in an extended attribute, encoded by hand.

Source: include/uapi/linux/posix_acl.h and posix_acl_xattr.h; `man 5 acl`.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from attrs import frozen

ATTRIBUTE = "system.posix_acl_access"
OWNER, USER, OWNING_GROUP, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
READ_WRITE = 6
_VERSION = 2
_NO_ID = 0xFFFFFFFF
_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")


@frozen(order=True)
class AclEntry:
    """One entry. `rights` are the bits of a mode (4 read, 2 write, 1 execute); `who` is a uid or gid, where the tag has one."""

    tag: int
    who: int
    rights: int


Acl = tuple[AclEntry, ...]


def read_acl(path: str) -> Acl:
    """The access ACL; of a file without one, what its mode says.

    Raises:
        OSError: as the kernel says.
    """
    try:
        return parse_acl(os.getxattr(path, ATTRIBUTE))
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
    mode = stat.S_IMODE(os.stat(path).st_mode)
    return (
        AclEntry(OWNER, _NO_ID, mode >> 6 & 7),
        AclEntry(OWNING_GROUP, _NO_ID, mode >> 3 & 7),
        AclEntry(OTHER, _NO_ID, mode & 7),
    )


def write_acl(path: str, acl: Acl) -> None:
    """Replace the access ACL. One without named users and groups becomes the mode alone.

    Raises:
        OSError: as the kernel says.
    """
    os.setxattr(path, ATTRIBUTE, format_acl(acl))


def parse_acl(data: bytes) -> Acl:
    """The entries in an attribute's value; the inverse of `format_acl`."""
    (version,) = _HEADER.unpack_from(data)
    if version != _VERSION:
        raise ValueError(f"ACL version {version} is not {_VERSION}")
    return tuple(AclEntry(tag, who, rights) for tag, rights, who in _ENTRY.iter_unpack(data[_HEADER.size :]))


def format_acl(acl: Acl) -> bytes:
    """The attribute's value, in the order that the kernel demands."""
    return _HEADER.pack(_VERSION) + b"".join(_ENTRY.pack(entry.tag, entry.rights, entry.who) for entry in sorted(acl))


def with_user(acl: Acl, uid: int, rights: int) -> Acl:
    """The ACL with this entry for a user, in place of any other for it."""
    return _with_right_mask((*_without(acl, uid), AclEntry(USER, uid, rights)))


def without_user(acl: Acl, uid: int) -> Acl:
    """The ACL without an entry for this user."""
    return _with_right_mask(_without(acl, uid))


def _without(acl: Acl, uid: int) -> Acl:
    return tuple(entry for entry in acl if not (entry.tag == USER and entry.who == uid))


def rights_of(acl: Acl, tag: int) -> int:
    """The rights that the owner, the owning group or others really have: a mask bounds the owning group."""
    rights = next(entry.rights for entry in acl if entry.tag == tag)
    mask = next((entry.rights for entry in acl if entry.tag == MASK), 7)
    return rights & mask if tag == OWNING_GROUP else rights


def _with_right_mask(acl: Acl) -> Acl:
    """The mask bounds named users, named groups and the owning group: it gets the union of their rights, as setfacl does."""
    entries = tuple(entry for entry in acl if entry.tag != MASK)
    if not any(entry.tag in (USER, GROUP) for entry in entries):
        return entries
    union = 0
    for entry in entries:
        union |= entry.rights if entry.tag in (USER, GROUP, OWNING_GROUP) else 0
    return (*entries, AclEntry(MASK, _NO_ID, union))
