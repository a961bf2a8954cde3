"""A torch loop on several ranks, which goes on with any other number of them.

In one terminal ``fdss demo --keep``, which prints what to set in another one; there

    torchrun --nproc-per-node 2 examples/ddp_loop.py --stop-after 120
    torchrun --nproc-per-node 3 examples/ddp_loop.py

The first run stops with work done since its last checkpoint. The second goes back to it, on three
ranks, and trains on exactly the rows that follow it; ``--ids`` names a file for their ids. Each
rank asks the server for its own rows only.

It needs torch.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from fdss.client import fast_load_iterable_dataset


def with_length(row: dict[str, Any]) -> dict[str, Any]:
    return {"characters": len(row["text"])}


def train(options: argparse.Namespace, rank: int, world_size: int) -> None:
    torch.manual_seed(0)
    dataset = fast_load_iterable_dataset(options.path, split=options.split)
    dataset = dataset.shuffle(seed=options.seed).map(with_length).remove_columns("text")
    dataset = dataset.distribute(rank, world_size, options.batch_rows)
    loader = DataLoader(dataset, batch_size=options.batch_rows, num_workers=options.workers)
    model = DistributedDataParallel(nn.Linear(2, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    step = 0

    if options.checkpoint.exists():
        checkpoint = torch.load(options.checkpoint)
        model.module.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        dataset.load_state_dict(checkpoint["data"])
        step = checkpoint["step"]
    print(f"from step {step} on: {dataset.distribution}", flush=True)

    while dataset.epoch < options.epochs:
        for had, batch in enumerate(loader, start=1):
            inputs = torch.stack([batch["characters"], batch["score"]], dim=1).float()
            loss = nn.functional.cross_entropy(model(inputs), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            note(options.ids, step, batch["id"])
            if step % options.save_every == 0 and rank == 0:
                checkpoint = {
                    "model": model.module.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "data": dataset.state_after(had),
                    "step": step,
                }
                save(options.checkpoint, checkpoint)
            if step == options.stop_after:
                return
        dataset.set_epoch(dataset.epoch + 1)


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
    parser = argparse.ArgumentParser(description="Train on ranks, stop, go on with others.")
    parser.add_argument("--path", default="local/demo", help="dataset, as the server names it")
    parser.add_argument("--split", default="train")
    parser.add_argument("--seed", type=int, default=7, help="seed of the order")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-rows", type=int, default=64, help="rows of a rank in one step")
    parser.add_argument("--workers", type=int, default=2, help="DataLoader workers of a rank")
    parser.add_argument("--checkpoint", type=Path, default=Path("ddp_loop.pt"))
    parser.add_argument("--save-every", type=int, default=50, help="steps between checkpoints")
    parser.add_argument("--stop-after", type=int, help="step behind which to stop")
    parser.add_argument("--ids", type=Path, help="file for the ids of the rows of each step")
    options = parser.parse_args()

    dist.init_process_group("gloo")
    try:
        train(options, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
