"""Feed: frames from the daemon as they come, in a thread of its own. Where the daemon goes away, it says so and tries again."""

from __future__ import annotations

import threading
from collections.abc import Callable

from qsup.api.client import Client, ClientError, Json, Rejected, quote

RETRY_S = 1.0
SILENCE_S = 10.0
_NOT_FOUND = 404


class News:
    """A frame, or why there is none; `gone`: the VM that was looked at is not known any more, and nothing else will come."""

    def __init__(self, frame: Json | None = None, fault: str = "", *, gone: bool = False) -> None:
        self.frame = frame
        self.fault = fault
        self.gone = gone


Deliver = Callable[[News], None]


def target_of(vm: str | None) -> str:
    """The stream of all VMs, or of one with its threads."""
    return "/v1/top/stream" if vm is None else f"/v1/top/stream?vm={quote(vm)}"


class Feed:
    """Follows one stream at a time; `deliver` is called in the feed's thread."""

    def __init__(self, client: Client, retry_s: float = RETRY_S) -> None:
        self._client = client
        self._retry_s = retry_s
        self._stop = threading.Event()

    def look_at(self, vm: str | None, deliver: Deliver) -> None:
        """From now on frames of all VMs, or of one. What was followed before delivers no more, and ends with its next frame."""
        self._stop.set()
        self._stop = stop = threading.Event()
        threading.Thread(target=self._run, args=(target_of(vm), deliver, stop), daemon=True).start()

    def close(self) -> None:
        """Deliver nothing more."""
        self._stop.set()

    def _run(self, target: str, deliver: Deliver, stop: threading.Event) -> None:
        while not stop.is_set():
            news = self._follow(target, deliver, stop)
            if stop.is_set():
                return
            deliver(news)
            if news.gone:
                return
            stop.wait(self._retry_s)

    def _follow(self, target: str, deliver: Deliver, stop: threading.Event) -> News:
        """Follow until it ends, and say why."""
        try:
            for event in self._client.follow(target, SILENCE_S):
                if stop.is_set():
                    break
                if event.type == "message":
                    deliver(News(event.data))
            return News(fault="the daemon ended the stream")
        except Rejected as fault:
            return News(fault=fault.message, gone=fault.status == _NOT_FOUND)
        except ClientError as fault:
            return News(fault=fault.message)
