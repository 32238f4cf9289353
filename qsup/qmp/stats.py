"""query-stats: what KVM counts about a guest (QEMU 7.1, Linux 5.14), summed up over its vCPUs.

Source: QEMU qapi/stats.json; Linux Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD. A name that this kernel does not have is
left out of QEMU's answer. To read a vCPU's counters QEMU takes it out of the guest for a moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from qsup.qmp.shapes import Shape

QUERY_STATS = "query-stats"


def stats_arguments(target: Literal["vm", "vcpu"], names: Sequence[str]) -> Mapping[str, object]:
    """The arguments that ask KVM for these counters."""
    return {"target": target, "providers": [{"provider": "kvm", "names": list(names)}]}


def sums_of(reply: Shape) -> Mapping[str, int]:
    """Each counter by name, summed up over all that the reply tells of; what is no count (histograms, flags) is left out.

    Raises:
        QmpRefused: "qsup.MalformedReply".
    """
    sums: Counter[str] = Counter()
    for row in reply.rows():
        for stat in row.at("stats").rows():
            value = stat.at("value")
            if type(value.value) is int:
                sums[stat.at("name").text()] += value.count()
    return sums
