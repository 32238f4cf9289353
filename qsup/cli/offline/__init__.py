"""Verbs that need no daemon: they load the pure rooms, the host and, for a command line, a short-lived QEMU."""
