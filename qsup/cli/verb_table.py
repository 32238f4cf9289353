"""The verbs: name, module, one line for the overview. A verb's module is imported only when its verb was chosen."""

from __future__ import annotations


class Verb:
    """One verb. The module offers `configure(parser)` and `run(args) -> exit code`."""

    def __init__(self, module: str, summary: str) -> None:
        self.module = module
        self.summary = summary


_HERE = "qsup.cli.verbs."

VERBS: dict[str, Verb] = {
    "daemon": Verb(_HERE + "daemon", "run the host daemon (systemd starts it)"),
    "list": Verb(_HERE + "list", "one line for each VM"),
    "status": Verb(_HERE + "status", "everything about one VM, or the daemon"),
    "start": Verb(_HERE + "start", "start VMs"),
    "stop": Verb(_HERE + "stop", "shut VMs down"),
    "restart": Verb(_HERE + "restart", "shut VMs down and start them again"),
    "reset": Verb(_HERE + "reset", "reset VMs as by their reset button"),
    "pause": Verb(_HERE + "pause", "hold VMs where they are"),
    "resume": Verb(_HERE + "resume", "let paused VMs go on"),
    "check": Verb(_HERE + "check", "offline: are these files valid?"),
    "cmdline": Verb(_HERE + "cmdline", "the QEMU command line of a VM or of a file"),
    "plan": Verb(_HERE + "plan", "what would happen, and where everything would sit"),
    "topology": Verb(_HERE + "topology", "the host, and who sits where"),
    "audit": Verb(_HERE + "audit", "what costs performance or safety here, and what mends it"),
    "verify": Verb(_HERE + "verify", "is it so? every thread, page and device against its plan"),
    "console": Verb(_HERE + "console", "attach to a VM's serial console"),
    "events": Verb(_HERE + "events", "what happened, and what happens"),
    "timeline": Verb(_HERE + "timeline", "the stages of a VM's last starts, in milliseconds"),
    "wait": Verb(_HERE + "wait", "who waited for a pCPU, and who ran there instead"),
    "top": Verb(_HERE + "top", "all of it live, full screen"),
    "qmp": Verb(_HERE + "qmp", "send one QMP command to a VM's QEMU"),
    "hmp": Verb(_HERE + "hmp", "send one line to a VM's human monitor"),
}


def overview() -> str:
    """The help of `qsup` itself."""
    rows = "\n".join(f"  {name:<10}{verb.summary}" for name, verb in VERBS.items())
    return f"usage: qsup VERB …\n\n{rows}\n\nqsup VERB --help says more; qsup --version tells the version."
