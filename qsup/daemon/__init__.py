"""daemon: wiring only: settings, sd_notify, signals, the root nursery and the order of shutdown.

Enters: the words of `qsup daemon`. Leaves: an exit code.
May touch: signals, NOTIFY_SOCKET, the journal's socket. Must not: know VM details.
Start reading at `main.py`.
"""
