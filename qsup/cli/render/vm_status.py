"""Everything about one VM, for a person."""

from __future__ import annotations

from collections.abc import Sequence

from qsup.api.client import Json
from qsup.bytesize import format_byte_size
from qsup.cli.render.amounts import age, counted, moment
from qsup.cli.render.columns import aligned
from qsup.cli.render.phase import painted_phase
from qsup.cli.render.problems import hint_lines, problem_lines, reason_lines, suggestion_lines
from qsup.cli.render.sizes import short_size
from qsup.cli.render.start_progress import progress_words
from qsup.cli.terminal import Style, printable

Vm = Json

_LABEL_WIDTH = 13


def status_text(vm: Vm, style: Style, now_s: float) -> str:
    """The head line, one line for each fact, then tables and lists where there is something in them."""
    since_s = vm["phase_since_s"]
    head = f"{style.colour('bold', vm['name'])}  {painted_phase(style, vm['phase'])}"
    lines = [f"{head}  since {moment(since_s)} ({age(now_s - since_s)})"]
    about = (_description, _config, _wanted, _process, _taken, _qemu, _starting, _memory, _vcpus, _console)
    facts = tuple(fact(vm) for fact in about)
    lines.extend(_labelled(label, text) for label, text in (*facts, *_history(vm)) if text)
    for section in (_trouble, _problems, _refusal, _pending, _warnings, _threads, _devices, _last_words):
        lines.extend(section(vm))
    return "\n".join(lines)


def _labelled(label: str, text: str) -> str:
    return f"  {label.ljust(_LABEL_WIDTH)}{printable(text)}"


def _joined(*parts: str | None) -> str:
    """The parts that say something, with commas."""
    return ", ".join(part for part in parts if part)


def _description(vm: Vm) -> tuple[str, str]:
    return "description", vm["description"]


def _config(vm: Vm) -> tuple[str, str]:
    in_force = "" if vm["pid"] is None else ": the last good version stays in force"
    notes = {"invalid": f"INVALID{in_force}", "absent": "no file"}
    state = notes.get(vm["config_state"], vm["config_state"])
    return "file", f"{vm['config_file']} ({state})" if vm["config_file"] else str(state)


def _wanted(vm: Vm) -> tuple[str, str]:
    return "wanted", _joined(vm["power"], "" if vm["autostart"] else "no autostart", vm["reason"])


def _process(vm: Vm) -> tuple[str, str]:
    if vm["pid"] is None:
        return "process", "none"
    uid = None if vm["uid"] is None else f"uid {vm['uid']}"
    return "process", _joined(f"pid {vm['pid']}", uid, vm["scope"], "adopted" if vm["adopted"] else None)


def _taken(vm: Vm) -> tuple[str, str]:
    """What its process has taken of the host."""
    stats = vm["process"]
    if stats is None:
        return "taken", ""
    cpu = f"{stats['user_s'] + stats['system_s']:.1f} s of CPU time"
    pages = f"{short_size(stats['hugepages_bytes'])} of hugepages" if stats["hugepages_bytes"] else None
    parts = (("resident", stats["resident_bytes"]), ("read", stats["read_bytes"]), ("written", stats["written_bytes"]))
    return "taken", _joined(cpu, pages, *(f"{short_size(size)} {word}" for word, size in parts if size is not None))


def _starting(vm: Vm) -> tuple[str, str]:
    return "starting", progress_words(vm["starting"])


def _qemu(vm: Vm) -> tuple[str, str]:
    silence = None if vm["silent_s"] is None else f"silent for {age(vm['silent_s'])}"
    return "qemu", _joined(vm["qemu_status"], silence, vm["machine"], vm["accel"])


def _memory(vm: Vm) -> tuple[str, str]:
    if vm["memory_bytes"] is None:
        return "memory", ""
    sizes = vm["page_sizes_bytes"]
    on_hugepages = vm["page_size_bytes"] or len(sizes) > 1
    pages = f" on {' and '.join(map(format_byte_size, sizes))} pages" if on_hugepages else ""
    nodes = ",".join(map(str, vm["host_nodes"]))
    node_word = "node" if len(vm["host_nodes"]) == 1 else "nodes"
    return "memory", _joined(format_byte_size(vm["memory_bytes"]) + pages, f"host {node_word} {nodes}" if nodes else None)


def _vcpus(vm: Vm) -> tuple[str, str]:
    return "vcpus", "" if vm["vcpus"] is None else _joined(str(vm["vcpus"]), vm["placement"])


def _console(vm: Vm) -> tuple[str, str]:
    return "serial log", vm["serial_log"] or ""


def _history(vm: Vm) -> tuple[tuple[str, str], ...]:
    code = f" [{vm['last_ending_code']}]" if vm["last_ending_code"] else ""
    next_start = "" if vm["next_start_in_s"] is None else f"in {age(vm['next_start_in_s'])}"
    return (
        ("last ending", f"{vm['last_ending']}{code}" if vm["last_ending"] else ""),
        ("restarts", str(vm["restarts"]) if vm["restarts"] else ""),
        ("next start", next_start),
    )


def _trouble(vm: Vm) -> list[str]:
    if not vm["trouble"] or vm["refusal"]:
        return []
    code = f" [{vm['trouble_code']}]" if vm["trouble_code"] else ""
    return ["", "  trouble", f"    {printable(vm['trouble'])}{code}", *hint_lines({"hint": vm.get("trouble_hint")}, "      ")]


def _problems(vm: Vm) -> list[str]:
    return _section("problems of the file", problem_lines(vm["problems"], "    "))


def _refusal(vm: Vm) -> list[str]:
    reasons = reason_lines(vm["refusal"], "    ")
    return _section("refused by this host", [*reasons, *suggestion_lines(vm["suggestions"], "    ")] if reasons else [])


def _warnings(vm: Vm) -> list[str]:
    return _section("warnings", problem_lines(vm["warnings"], "    "))


def _pending(vm: Vm) -> list[str]:
    lines: list[str] = []
    for change in vm["pending"]:
        lines.append(f"    {change['key']}: {change['old']} → {change['new']} ({change['effect']})")
        lines.append(f"      {change['reason']}")
    return _section(f"{counted(len(vm['pending']), 'change')} pending", [printable(line) for line in lines])


def _threads(vm: Vm) -> list[str]:
    rows = [("THREAD", "TID", "PIN", "AFFINITY", "VERDICT")]
    rows += [(row["role"], str(row["tid"]), row["pin"], row["affinity"], row["verdict"]) for row in vm["threads"]]
    return _section("threads", [f"    {line}" for line in aligned(rows)] if vm["threads"] else [])


def _devices(vm: Vm) -> list[str]:
    lines: list[str] = []
    for title in ("disks", "nics"):
        lines += _section(title, [f"    {printable(_pairs(device))}" for device in vm[title]])
    return lines


def _pairs(device: Json) -> str:
    return " ".join(f"{key}={_plain(value)}" for key, value in device.items() if value is not None)


def _plain(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _last_words(vm: Vm) -> list[str]:
    words = (vm["last_words"] or "").strip()
    return _section("last words", [f"    {printable(line)}" for line in words.splitlines()])


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"  {title}", *lines] if lines else []
