"""The host settings (settings.toml): what the operator asks of the daemon and of every placement."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from qsup.bytesize import MIB, TIB
from qsup.errors import InvalidInput
from qsup.spec.document import load_document, problems_of
from qsup.spec.faults import Fault, Place
from qsup.spec.readers import byte_size, one_of, one_or_each, seconds, true_or_false, whole_number, word_or
from qsup.spec.schema import key
from qsup.spec.tables import Rule, finish_section, read_flat_sections
from qsup.spec.words import HIGHEST_HOST_NODE, cpulist, matching, program, tcp_address

OnRemoved = Literal["keep", "shutdown"]
Strategy = Literal["pack", "spread"]

AT_DAEMON_START = "the daemon reads its settings when it starts; a running VM is not concerned"
NEXT_PLACEMENT = "counts for the VMs that are placed after the daemon's next start"
HIGHEST_UID = 2**32 - 2  # 2^32 - 1 means "no user" to the kernel (setresuid(2))
RESERVED_UIDS = (65534, 65535)  # nobody, and "no user" in 16 bits


@frozen
class SettingsSpec:
    """All keys of the settings file, flat here; in TOML they stand in the sections [daemon], [place], [user], [network].

    `scopes` None is "auto": a scope per VM where systemd runs the host. `housekeeping` None: pCPU 0's core on hosts of
    more than 2 cores. `reserved_…` are counted by host node, the last entry for all further ones. `host_nodes` None: all.
    `overcommit` None: unlimited. Where the daemon is root, each VM gets a uid of its
    own among `uid_count` from `uid_first` on.
    """

    qemu: str = field(
        default="qemu-system-x86_64",
        metadata=key(
            program(),
            section="daemon",
            doc="The QEMU binary.",
            effect="none",
            reason=AT_DAEMON_START,
        ),
    )
    on_removed: OnRemoved = field(
        default="keep",
        metadata=key(
            one_of(OnRemoved),
            section="daemon",
            doc="What happens to a running VM whose file is removed: `keep` lets it run, shown as removed.",
            effect="none",
            reason=AT_DAEMON_START,
        ),
    )
    max_parallel_starts: int = field(
        default=8,
        metadata=key(
            whole_number(1, 1024, 8),
            section="daemon",
            doc="How many VMs are launched at the same time; a launch lasts until its QEMU runs, others wait.",
            effect="none",
            reason=AT_DAEMON_START,
        ),
    )
    unresponsive_after_s: float = field(
        default=5.0,
        metadata=key(
            seconds(1, 600, 5),
            section="daemon",
            doc="Seconds that QEMU may leave a question of qsup unanswered before its VM counts as unresponsive; "
            "it is asked half as often.",
            effect="none",
            reason=AT_DAEMON_START,
        ),
    )
    scopes: bool | None = field(
        default=None,
        metadata=key(
            word_or("auto", true_or_false()),
            section="daemon",
            doc="Put each VM into a systemd scope of its own.",
            absent='`"auto"`: where systemd runs the host',
            effect="none",
            reason=AT_DAEMON_START,
        ),
    )
    api_group: str = field(
        default="qsup",
        metadata=key(
            matching(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", "the name of a group", "bad-group", "qsup"),
            section="daemon",
            doc="The group that may command the daemon, besides root.",
            effect="none",
            reason=AT_DAEMON_START,
        ),
    )
    exact_wait: bool = field(
        default=False,
        metadata=key(
            true_or_false(),
            section="daemon",
            doc="While somebody watches who waits, a BPF program counts every switch of threads, so that short-lived and "
            "moving threads have names as well.",
            effect="none",
            reason=AT_DAEMON_START,
        ),
    )
    metrics_address: str | None = field(
        default=None,
        metadata=key(
            word_or("none", tcp_address("127.0.0.1:9101")),
            section="daemon",
            doc="Where `/metrics` can be had over TCP as well, by whoever reaches the address; there is nothing else there.",
            absent='`"none"`: on the API\'s socket only',
            effect="none",
            reason=AT_DAEMON_START,
        ),
    )
    housekeeping: frozenset[int] | None = field(
        default=None,
        metadata=key(
            word_or("auto", cpulist(example="0-1")),
            section="place",
            doc="The pCPUs for the host itself and for QEMU's own threads; no dedicated vCPU lands there.",
            absent='`"auto"`: pCPU 0 and its siblings on hosts of more than 2 cores',
            effect="none",
            reason=NEXT_PLACEMENT,
        ),
    )
    host_nodes: frozenset[int] | None = field(
        default=None,
        metadata=key(
            word_or("all", cpulist("host nodes", HIGHEST_HOST_NODE, "0-1")),
            section="place",
            doc="The host nodes that VMs may be placed on; pins that are written out are taken as they are.",
            absent='`"all"`: every host node',
            effect="none",
            reason=NEXT_PLACEMENT,
        ),
    )
    strategy: Strategy = field(
        default="pack",
        metadata=key(
            one_of(Strategy),
            section="place",
            doc="Of host nodes and L3 groups that suit a VM equally well: `pack` takes the fullest, so that large VMs find "
            "room later, `spread` the emptiest; shared VMs always go where the fewest float.",
            effect="none",
            reason=NEXT_PLACEMENT,
        ),
    )
    overcommit: int | None = field(
        default=None,
        metadata=key(
            word_or("unlimited", whole_number(1, 1024, 8)),
            section="place",
            doc="How many shared vCPUs a pCPU of the shared pool may carry, counted per host node.",
            absent='`"unlimited"`',
            effect="none",
            reason=NEXT_PLACEMENT,
        ),
    )
    reserved_memory_bytes: tuple[int, ...] = field(
        default=(512 * MIB,),
        metadata=key(
            one_or_each(
                byte_size(at_least=0, at_most=TIB, example="512MiB"), "sizes", HIGHEST_HOST_NODE + 1, '["2GiB", "512MiB"]'
            ),
            toml="reserved_memory",
            section="place",
            doc="Memory left to the host: on each host node, or a list by host node, its last entry for all further ones.",
            effect="none",
            reason=NEXT_PLACEMENT,
        ),
    )
    reserved_2mib_pages: tuple[int, ...] = field(
        default=(0,),
        metadata=key(
            one_or_each(whole_number(0, 1 << 30, 512), "numbers", HIGHEST_HOST_NODE + 1, "[512, 0]"),
            section="place",
            doc="Hugepages of 2 MiB that are left to others: on each host node, or a list by host node as above.",
            effect="none",
            reason=NEXT_PLACEMENT,
        ),
    )
    reserved_1gib_pages: tuple[int, ...] = field(
        default=(0,),
        metadata=key(
            one_or_each(whole_number(0, 1 << 20, 2), "numbers", HIGHEST_HOST_NODE + 1, "[2, 0]"),
            section="place",
            doc="Hugepages of 1 GiB that are left to others: on each host node, or a list by host node as above.",
            effect="none",
            reason=NEXT_PLACEMENT,
        ),
    )
    grow_hugepages: bool = field(
        default=True,
        metadata=key(
            true_or_false(),
            section="place",
            doc="Let qsup enlarge a hugepage pool that is too small, and give back what it added.",
            effect="none",
            reason=NEXT_PLACEMENT,
        ),
    )
    uid_first: int = field(
        default=7_000_000,
        metadata=key(
            whole_number(1000, HIGHEST_UID, 7_000_000),
            section="user",
            doc="The first of the uids from which each VM gets one of its own; used where the daemon is root.",
            effect="none",
            reason=NEXT_PLACEMENT,
        ),
    )
    uid_count: int = field(
        default=10_000,
        metadata=key(
            whole_number(1, 10_000_000, 10_000),
            section="user",
            doc="How many uids there are for VMs.",
            effect="none",
            reason=NEXT_PLACEMENT,
        ),
    )
    create_bridges: bool = field(
        default=False,
        metadata=key(
            true_or_false(),
            section="network",
            doc="Create a bridge that a VM names and that does not exist, instead of refusing the VM.",
            effect="none",
            reason=AT_DAEMON_START,
        ),
    )


def uids_are_free(settings: SettingsSpec, place: Place) -> None:
    """The range of uids stays below the highest one and has none that means nobody."""
    last = settings.uid_first + settings.uid_count - 1
    where = place.at("user", "uid_first")
    if last > HIGHEST_UID:
        message = f"the uids {settings.uid_first} to {last} go beyond {HIGHEST_UID}: accepted is a range below"
        where.report("uid-range", message, f"set uid_first to {HIGHEST_UID + 1 - settings.uid_count} or less")
    elif any(settings.uid_first <= uid <= last for uid in RESERVED_UIDS):
        nobody = " and ".join(map(str, RESERVED_UIDS))
        message = f"the uids {settings.uid_first} to {last} include {nobody}: accepted is a range without them"
        where.report("uid-range", message, "choose a range of uids that nobody uses, like 7000000 and up")


RULES: tuple[Rule[SettingsSpec], ...] = (uids_are_free,)


def parse_settings(text: str, *, file: str) -> SettingsSpec:
    """The settings of a file; the empty text gives the defaults.

    Raises:
        InvalidInput: every problem of the text, in file order.
    """
    document = load_document(text, file=file)
    faults: list[Fault] = []
    place = Place((), faults)
    values = read_flat_sections(SettingsSpec, document, place)
    settings = finish_section(SettingsSpec, values, place, RULES)
    if faults:
        raise InvalidInput(problems_of(faults, text, file=file))
    return settings
