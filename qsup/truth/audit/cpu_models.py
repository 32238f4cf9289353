"""Which of the instructions that make guests fast a CPU model of QEMU has.

Source: `query-cpu-model-expansion` of QEMU 7.2 for each of its models; QEMU's documentation of CPU models for the younger ones.
Where the versions of a model differ, it is taken to have what the richest one has: no guest is accused without cause.
"""

from __future__ import annotations

import re

FAST_FLAGS = ("aes", "avx", "avx2", "avx512f", "sha_ni", "vaes", "pclmulqdq", "bmi2", "fsgsbase")
"""By their names in /proc/cpuinfo."""

_VERSION = re.compile(r"(-v\d+|-noTSX|-IBRS|-IBPB)+$")
_ALL_OF_THE_HOST = frozenset({"host", "max"})
_NONE = frozenset[str]()
_WESTMERE = frozenset({"aes", "pclmulqdq"})
_SANDY = _WESTMERE | {"avx"}
_IVY = _SANDY | {"fsgsbase"}
_HASWELL = _IVY | {"avx2", "bmi2"}
_EPYC = _HASWELL | {"sha_ni"}
_SKYLAKE_SERVER = _HASWELL | {"avx512f"}
_EVERYTHING = frozenset(FAST_FLAGS)

_FLAGS = {
    **dict.fromkeys(
        ("qemu64", "qemu32", "kvm64", "kvm32", "486", "pentium", "pentium2", "pentium3", "athlon", "phenom", "coreduo"), _NONE
    ),
    **dict.fromkeys(("core2duo", "n270", "Conroe", "Penryn", "Nehalem", "Opteron_G1", "Opteron_G2", "Opteron_G3"), _NONE),
    "Westmere": _WESTMERE,
    **dict.fromkeys(("SandyBridge", "Opteron_G4", "Opteron_G5"), _SANDY),
    "IvyBridge": _IVY,
    **dict.fromkeys(("Haswell", "Broadwell", "Skylake-Client"), _HASWELL),
    "Dhyana": _HASWELL - _WESTMERE,
    **dict.fromkeys(("Denverton", "Snowridge"), _WESTMERE | {"sha_ni", "fsgsbase"}),
    **dict.fromkeys(("EPYC", "EPYC-Rome"), _EPYC),
    "EPYC-Milan": _EPYC | {"vaes"},
    **dict.fromkeys(("Skylake-Server", "KnightsMill", "Cascadelake-Server", "Cooperlake"), _SKYLAKE_SERVER),
    **dict.fromkeys(("Icelake-Server", "SapphireRapids", "GraniteRapids", "EPYC-Genoa", "EPYC-Turin"), _EVERYTHING),
    **dict.fromkeys(("SierraForest", "ClearwaterForest"), _EVERYTHING - {"avx512f"}),
}


def fast_flags_of(model: str, host: frozenset[str]) -> frozenset[str] | None:
    """The fast instructions that a guest of this model sees on a host with these flags; None: the model is not known here.

    Args:
        model: as after `-cpu`: a name, then features that are added or taken away.
    """
    name, *features = (word.strip() for word in model.split(","))
    flags = _EVERYTHING & host if name in _ALL_OF_THE_HOST else _FLAGS.get(_VERSION.sub("", name))
    if flags is None:
        return None
    for feature in features:
        flag, on = _feature(feature)
        flags = flags | {flag} if on else flags - {flag}
    return flags & host & _EVERYTHING


def _feature(word: str) -> tuple[str, bool]:
    """(name as in /proc/cpuinfo, whether it is on)."""
    name, _, value = word.lstrip("+-").partition("=")
    off = word.startswith("-") or value in ("off", "no", "false")
    return name.replace("-", "_"), not off
