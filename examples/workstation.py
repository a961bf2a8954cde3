"""A torch loop on a workstation, over rows of another host, through an SSH tunnel that may break.

On the data host ``fdss start --local demo=PATH``, with a dataset such as ``fdss demo`` makes; here

    python examples/workstation.py datahost --stop-after 100
    python examples/workstation.py datahost

It fetches the server's token over ssh, opens a tunnel, and opens it again when it breaks: the loop
waits meanwhile, and goes on at the next row. The second run goes back to the last checkpoint of
the first, and trains on exactly the rows that follow it.

It needs torch, and a login on the data host that asks for no password (a key, or an agent).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from fdss.client import fast_load_iterable_dataset

RETRY_S = 1.0
LOOPBACK = "127.0.0.1"


class Tunnel:
    """A port of this machine that leads to one of another host for as long as it is open."""

    def __init__(self, host: str, port: int) -> None:
        with socket.create_server((LOOPBACK, 0)) as listener:
            self.port = listener.getsockname()[1]
        alive = ["-o", "ServerAliveInterval=15", "-o", "ExitOnForwardFailure=yes"]
        self._command = [
            *("ssh", "-N", *alive),
            *("-L", f"{LOOPBACK}:{self.port}:{LOOPBACK}:{port}", host),
        ]
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._keeper = threading.Thread(target=self._keep)

    def __enter__(self) -> Tunnel:
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        while not self._is_open():
            if self._process.poll() is not None or self._closed.wait(0.05):
                raise SystemExit("There is no tunnel; ssh has said why.")
        self._keeper.start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._closed.set()
            self._process.terminate()
        self._keeper.join()

    def _is_open(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.port)):
            return True
        return False

    def _keep(self) -> None:
        """Open the tunnel again whenever it ends."""
        while True:
            self._process.wait()
            if self._closed.wait(RETRY_S):
                return
            with self._lock:
                if self._closed.is_set():
                    return
                self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)


def token_of(host: str, port: int) -> str:
    file = f".config/forgather/dataset_server/{port}.token"
    asked = subprocess.run(["ssh", host, "cat", file], check=True, stdout=subprocess.PIPE)
    return asked.stdout.decode().strip()


def with_length(row: dict[str, Any]) -> dict[str, Any]:
    return {"characters": len(row["text"])}


def train(options: argparse.Namespace) -> None:
    torch.manual_seed(0)
    dataset = fast_load_iterable_dataset(options.path, split=options.split)
    dataset = dataset.shuffle(seed=options.seed).map(with_length).remove_columns("text")
    dataset = dataset.distribute(0, 1, options.batch_rows, tail="uneven")
    loader = DataLoader(dataset, batch_size=options.batch_rows, num_workers=options.workers)
    model = nn.Linear(2, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    step = 0

    if options.checkpoint.exists():
        checkpoint = torch.load(options.checkpoint)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        dataset.load_state_dict(checkpoint["data"])
        step = checkpoint["step"]
        print(f"resumed behind step {step}")

    while dataset.epoch < options.epochs:
        for had, batch in enumerate(loader, start=1):
            inputs = torch.stack([batch["characters"], batch["score"]], dim=1).float()
            loss = nn.functional.cross_entropy(model(inputs), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            note(options.ids, step, batch["id"])
            if step % options.save_every == 0:
                checkpoint = {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "data": dataset.state_after(had),
                    "step": step,
                }
                save(options.checkpoint, checkpoint)
            if step == options.stop_after:
                return
        dataset.set_epoch(dataset.epoch + 1)
    print(f"trained {step} steps")


def save(file: Path, checkpoint: dict[str, Any]) -> None:
    """Save a checkpoint whole, or not at all."""
    unfinished = file.with_suffix(".part")
    torch.save(checkpoint, unfinished)
    os.replace(unfinished, file)


def note(file: Path | None, step: int, ids: torch.Tensor) -> None:
    if file is not None:
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"step": step, "ids": ids.tolist()}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train through a tunnel, stop, go on.")
    parser.add_argument("host", help="data host, as ssh knows it")
    parser.add_argument("--port", type=int, default=8766, help="of the server on that host")
    parser.add_argument("--path", default="local/demo", help="dataset, as the server names it")
    parser.add_argument("--split", default="train")
    parser.add_argument("--seed", type=int, default=7, help="seed of the order")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-rows", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2, help="DataLoader workers")
    parser.add_argument("--checkpoint", type=Path, default=Path("workstation.pt"))
    parser.add_argument("--save-every", type=int, default=50, help="steps between checkpoints")
    parser.add_argument("--stop-after", type=int, help="step behind which to stop")
    parser.add_argument("--ids", type=Path, help="file for the ids of the rows of each step")
    options = parser.parse_args()

    logging.basicConfig(level=logging.WARNING)
    os.environ["FORGATHER_DATASET_SERVER_TOKEN"] = token_of(options.host, options.port)
    with Tunnel(options.host, options.port) as tunnel:
        os.environ["FORGATHER_DATASET_SERVER"] = f"http://localhost:{tunnel.port}"
        train(options)


if __name__ == "__main__":
    main()
