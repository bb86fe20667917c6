"""Attempts to reach another machine, seen by Python's own audit."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

CONNECTS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request")


class Watch:
    """Called in a process, it writes each attempt of that process into a file; the Hub is allowed from then on."""

    def __init__(self, file: Path) -> None:
        self.file = str(file)

    def __call__(self) -> None:
        import huggingface_hub.constants

        huggingface_hub.constants.HF_HUB_OFFLINE = False
        handle = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

        def seen(event: str, arguments: tuple[object, ...]) -> None:
            of_this_machine = event == "socket.connect" and isinstance(arguments[-1], str | bytes)  # a path
            if event in CONNECTS and not of_this_machine:
                where = "".join(traceback.format_stack(limit=60))
                os.write(handle, f"{event} {arguments}\n{where}\n".encode())

        sys.addaudithook(seen)
