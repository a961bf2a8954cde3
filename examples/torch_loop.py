"""A plain torch loop over a served dataset that goes on at the very next row after a crash.

In one terminal ``fdss demo --keep``, which prints what to set in another one; there

    python examples/torch_loop.py --stop-after 200
    python examples/torch_loop.py

The first run dies like a killed job, with work done since its last checkpoint. The second goes
back to that checkpoint and trains on exactly the rows that follow it; both write to ``--ids``
which rows they trained on.

It needs torch and torchdata.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchdata.stateful_dataloader import StatefulDataLoader

from fdss.client import fast_load_iterable_dataset


def with_length(row: dict[str, Any]) -> dict[str, Any]:
    return {"characters": len(row["text"])}


def save(file: Path, checkpoint: dict[str, Any]) -> None:
    """Save a checkpoint whole, or not at all."""
    unfinished = file.with_suffix(".part")
    torch.save(checkpoint, unfinished)
    os.replace(unfinished, file)


def train(options: argparse.Namespace) -> None:
    torch.manual_seed(0)
    dataset = fast_load_iterable_dataset(options.path, split=options.split).shuffle(
        seed=options.seed
    )
    dataset = dataset.map(with_length).remove_columns("text")
    loader = StatefulDataLoader(dataset, batch_size=options.batch_rows, num_workers=options.workers)
    model = nn.Linear(2, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    step = first_epoch = 0

    if options.checkpoint.exists():
        checkpoint = torch.load(options.checkpoint)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        loader.load_state_dict(checkpoint["loader"])
        step, first_epoch = checkpoint["step"], checkpoint["epoch"]
        print(f"resumed behind step {step}")

    for epoch in range(first_epoch, options.epochs):
        dataset.set_epoch(epoch)
        for batch in loader:
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
                    "loader": loader.state_dict(),
                    "step": step,
                    "epoch": epoch,
                }
                save(options.checkpoint, checkpoint)
            if step == options.stop_after:
                print(f"killed behind step {step}", flush=True)
                os._exit(9)
    print(f"trained {step} steps, loss {loss:.3f}")


def note(file: Path | None, step: int, ids: torch.Tensor) -> None:
    if file is not None:
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"step": step, "ids": ids.tolist()}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train, be killed, go on at the next row.")
    parser.add_argument("--path", default="local/demo", help="dataset, as the server names it")
    parser.add_argument("--split", default="train")
    parser.add_argument("--seed", type=int, default=7, help="seed of the order")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-rows", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2, help="DataLoader workers")
    parser.add_argument("--checkpoint", type=Path, default=Path("torch_loop.pt"))
    parser.add_argument("--save-every", type=int, default=50, help="steps between checkpoints")
    parser.add_argument("--stop-after", type=int, help="step behind which to die")
    parser.add_argument("--ids", type=Path, help="file for the ids of the rows of each step")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
