"""The commands: parse words, ask the daemon (or, offline, the pure rooms), print, return an exit code.

Enters: the words of a command line.
Leaves: text or JSON on stdout, faults on stderr, an exit code of `exit_codes.py`.
May touch: the terminal, the API socket; `console --tail` reads the serial log; the verbs in `offline/` also files, the pure
rooms, the host and a short-lived QEMU.
Must not: decide anything; import more than the standard library in a client verb (a test lists sys.modules).
Start reading at `main.py`, then `verb_table.py` and one of `verbs/`; `render/` is pure: JSON in, text out.
"""
