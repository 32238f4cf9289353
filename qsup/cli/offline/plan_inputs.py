"""What `qsup plan` starts from: the host, who runs, which files count, what the guests' records say."""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence

from attrs import evolve, frozen

from qsup.cli.offline.collisions import with_collisions
from qsup.cli.offline.current import Current, current_of
from qsup.cli.offline.hosts import Host, facts_of
from qsup.cli.offline.recorded_vms import current_of_recording
from qsup.cli.offline.vm_files import CheckedFile, check_file, expanded, files_in
from qsup.cli.options import DEFAULT_CONFIG_DIR
from qsup.cpuset import format_cpulist, parse_cpulist
from qsup.daemon.configuration import policy_of, read_settings
from qsup.errors import BadRequest, InvalidInput, QsupError
from qsup.plan.guest_record import GuestRecord, guest_record_of
from qsup.plan.host_facts import HostFacts
from qsup.plan.ledger import Ledger
from qsup.plan.whatif import Stage
from qsup.process.state_dir import read_guest_record
from qsup.spec.vmspec import VmSpec


@frozen
class PlanInputs:
    """`added` come from --with, `config` are the other VMs that would start, `running` what running VMs were asked for.

    `invalid` are files of the config directory that cannot be planned; `stage` is the host as it is now.
    """

    host: Host
    current: Current
    stage: Stage
    added: tuple[VmSpec, ...]
    config: tuple[VmSpec, ...]
    running: Mapping[str, VmSpec]
    records: Mapping[str, GuestRecord]
    invalid: tuple[CheckedFile, ...]
    assumptions: tuple[str, ...]

    @property
    def known(self) -> frozenset[str]:
        """Every VM that there is without --with."""
        return frozenset({*self.current.ledger.holdings, *(spec.name for spec in self.config)})


def inputs_of(args: argparse.Namespace, host: Host) -> PlanInputs:
    """Read everything that one planning needs.

    Raises:
        QsupError: a --with file is invalid, the settings or the config directory cannot be read.
    """
    policy = policy_of(read_settings(args.settings), args.run_dir, args.state_dir)
    current = current_of_recording(host) if host.recorded else current_of(args.run_dir)
    added = _added(args.added)
    files = _config_files(args, current)
    current = _with_specs(current, files)
    held = {spec.name for spec in added} | (set() if args.reboot else set(current.ledger.holdings))
    config = [spec for file in files if (spec := file.spec) is not None and spec.vm.autostart and spec.name not in held]
    specs = (*added, *config, *current.specs.values())
    facts, assumed = facts_of(host, specs, current.ledger)
    records, notes = _records(host, args.state_dir, specs, current.ledger)
    return PlanInputs(
        host=host,
        current=evolve(current, notes=(*current.notes, *notes)),
        stage=Stage(facts, policy, current.ledger),
        added=added,
        config=tuple(config),
        running=current.specs,
        records=records,
        invalid=tuple(file for file in files if file.problems and file.spec is None),
        assumptions=(*host.assumptions, *assumed),
    )


def _added(paths: Sequence[str]) -> tuple[VmSpec, ...]:
    """The VMs of --with.

    Raises:
        InvalidInput: every problem of every file. BadRequest: cli.no-such-file, cli.contradiction.
    """
    try:
        files = with_collisions([check_file(path) for path in expanded(paths)])
    except OSError as error:
        raise _unlisted(error) from None
    problems = tuple(problem for file in files for problem in file.problems)
    if problems:
        raise InvalidInput(problems)
    specs = [file.spec for file in files if file.spec is not None]
    if len(specs) < len(files):
        raise BadRequest("cli.contradiction", "--with takes VM files, not settings.toml", "name settings by --settings")
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            hint = "the file's name is the VM's name: rename one of them"
            raise BadRequest("cli.contradiction", f"--with names the VM {name} twice", hint)
    return tuple(specs)


def _config_files(args: argparse.Namespace, current: Current) -> list[CheckedFile]:
    """The daemon's files, else those of the config directory; the default one may be missing."""
    if current.by_daemon and args.config_dir is None:
        return [check_file(path) for path in (current.files if args.reboot else current.waiting)]
    directory = args.config_dir or DEFAULT_CONFIG_DIR
    if args.config_dir is None and not os.path.isdir(directory):
        return []
    try:
        return [check_file(path) for path in files_in(directory)]
    except OSError as error:
        raise _unlisted(error) from None


def _with_specs(current: Current, files: Iterable[CheckedFile]) -> Current:
    """What running VMs were asked for, from the config directory where nobody told it."""
    named = {file.spec.name: file.spec for file in files if file.spec is not None}
    told = {name: spec for name, spec in named.items() if name in current.ledger.holdings}
    return evolve(current, specs={**told, **current.specs})


def _unlisted(error: OSError) -> BadRequest:
    message = f"{error.filename} cannot be listed: {error.strerror}"
    return BadRequest("cli.no-such-directory", message, "name a directory that is there and may be read")


def _records(
    host: Host, state_dir: str, specs: Iterable[VmSpec], ledger: Ledger
) -> tuple[Mapping[str, GuestRecord], tuple[str, ...]]:
    """The guests' records; for a VM that runs and has none to read, what its plan tells."""
    records: dict[str, GuestRecord] = {}
    notes: list[str] = []
    for name in {spec.name for spec in specs}:
        try:
            record = None if host.recorded else read_guest_record(state_dir, name)
        except QsupError as error:
            record = None
            notes.append(f"the record of {name} cannot be read, so its last placement is not known: {error.message}")
        if record is None and name in ledger.holdings:
            record = guest_record_of(ledger.holdings[name].plan)
        if record is not None:
            records[name] = record
    return records, tuple(sorted(notes))


def check_without(names: Sequence[str], inputs: PlanInputs) -> None:
    """Every VM of --without is one, and is not put in by --with as well.

    Raises:
        BadRequest: cli.unknown-vm, cli.contradiction.
    """
    both = sorted(set(names) & {spec.name for spec in inputs.added})
    if both:
        message = f"{', '.join(both)} is in --with and in --without"
        raise BadRequest("cli.contradiction", message, "say one of the two")
    for name in names:
        if name not in inputs.known:
            near = difflib.get_close_matches(name, inputs.known, 1)
            there = ", ".join(sorted(inputs.known)) or "none"
            hint = f"did you mean {near[0]}?" if near else f"the VMs here: {there}"
            raise BadRequest("cli.unknown-vm", f"there is no VM called {name!r} to plan without", hint)


def offline_pcpus(text: str | None, facts: HostFacts) -> frozenset[int]:
    """The pCPUs of --offline.

    Raises:
        BadRequest: cli.bad-cpulist.
    """
    if text is None:
        return frozenset()
    try:
        pcpus = parse_cpulist(text)
    except ValueError as error:
        raise _bad_cpulist(f"--offline {text!r}: {error}") from None
    if not pcpus:
        raise _bad_cpulist("--offline names no pCPU")
    _check_there(pcpus, facts)
    return pcpus


def _check_there(pcpus: Collection[int], facts: HostFacts) -> None:
    there = {pcpu.pcpu for pcpu in facts.pcpus}
    if absent := set(pcpus) - there:
        message = f"--offline names the pCPUs {format_cpulist(absent)}, which this host does not have"
        raise _bad_cpulist(f"{message}: it has {format_cpulist(there)}")
    if not facts.index.online - set(pcpus):
        raise _bad_cpulist(f"--offline {format_cpulist(pcpus)} leaves no pCPU online: accepted is all but one of them")


def _bad_cpulist(message: str) -> BadRequest:
    return BadRequest("cli.bad-cpulist", message, "write pCPU numbers like 4-7,12; qsup topology shows them")
