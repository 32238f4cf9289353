"""HTTP/1.1 over the Unix socket `api.sock`: what the supervisor publishes, as JSON, and the operator's orders.

Enters: requests of local clients, each with the credentials that the kernel vouches for.
Leaves: JSON replies, server-sent events, the raw bytes of a console.
May touch: its socket (and the file that is its name), the log; the supervisor only through `registry.Registry`.
Must not: decide, touch a VM or the host, let one slow client delay another client or the shutdown.
Start reading at `routes.py` (what can be asked), then `server.py` (how a connection lives); `wire.py` has the JSON shapes;
`client.py` is the other side, in the standard library only.
"""
