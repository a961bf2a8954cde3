"""A server process that writes down what it opens, whom it calls and what it runs.

``python observed.py RECORD start …`` is ``fdss start …``; a line of RECORD is an event in JSON.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

OPENED = ("open", "os.listdir", "os.scandir", "glob.glob", "os.remove", "os.rename", "os.mkdir")
CALLED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
RUN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "subprocess.Popen",
    "pickle.find_class",
)


def _observe(record: str) -> None:
    watched = {*OPENED, *CALLED, *RUN}
    descriptor = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in watched:
            shown = [os.fsdecode(one) if isinstance(one, bytes) else one for one in arguments]
            line = json.dumps([event, [one if isinstance(one, str) else str(one) for one in shown]])
            os.write(descriptor, line.encode() + b"\n")

    sys.addaudithook(hook)


if __name__ == "__main__":
    _observe(sys.argv[1])
    sys.argv = ["fdss", *sys.argv[2:]]

    from fdss.cli.main import main

    main()
