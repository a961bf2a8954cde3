"""Lightning over a served dataset, resumed at the very next row from any checkpoint.

In one terminal ``fdss demo --keep``, which prints what to set in another one; there

    python examples/lightning_trainer.py --stop-after 200
    python examples/lightning_trainer.py

Lightning saves the state of a train dataloader that has one. The loader here has one that says
how many rows were consumed, which holds for any number of workers, and it gives each epoch an
order of its own.

It needs torch, torchdata and lightning.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader

from fdss.client import fast_load_iterable_dataset


class EpochLoader:
    """The batches of one epoch after the other, with a state that names the very next row."""

    def __init__(self, dataset: Any, batch_rows: int, workers: int) -> None:
        self.dataset = dataset
        self.loader = DataLoader(dataset, batch_size=batch_rows, num_workers=workers)
        self.had = 0

    def __iter__(self) -> Iterator[Any]:
        if self.had:
            self.dataset.set_epoch(self.dataset.epoch + 1)
        self.had = 0
        for batch in self.loader:
            self.had += 1
            yield batch

    def __len__(self) -> int:
        return len(self.loader)

    def state_dict(self) -> dict[str, Any]:
        return self.dataset.state_after(self.had)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.dataset.load_state_dict(state)


class Model(lightning.LightningModule):
    """A tiny model that says which of five labels a text has; it notes the rows it is given."""

    def __init__(self, ids: Path | None) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 5)
        self.ids = ids

    def training_step(self, batch: dict[str, torch.Tensor], batch_index: int) -> torch.Tensor:
        if self.ids is not None:
            with self.ids.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"ids": batch["id"].tolist()}) + "\n")
        inputs = torch.stack([batch["characters"], batch["score"]], dim=1).float()
        return nn.functional.cross_entropy(self.layer(inputs), batch["label"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class StopAfter(Callback):
    """Stops behind a step, as a job does whose time is over."""

    def __init__(self, step: int | None) -> None:
        self.step = step

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, *rest: Any
    ) -> None:
        if trainer.global_step == self.step:
            trainer.should_stop = True


def with_length(row: dict[str, Any]) -> dict[str, Any]:
    return {"characters": len(row["text"])}


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Train with Lightning, stop, go on at the next row."
    )
    parser.add_argument("--path", default="local/demo", help="dataset, as the server names it")
    parser.add_argument("--split", default="train")
    parser.add_argument("--seed", type=int, default=7, help="seed of the order")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-rows", type=int, default=64)
    parser.add_argument("--accumulate", type=int, default=2, help="batches to one step")
    parser.add_argument("--workers", type=int, default=2, help="DataLoader workers")
    parser.add_argument("--folder", type=Path, default=Path("lightning_trainer"))
    parser.add_argument("--save-every", type=int, default=50, help="steps between checkpoints")
    parser.add_argument("--stop-after", type=int, help="step behind which to stop")
    parser.add_argument("--ids", type=Path, help="file for the ids of the rows of each batch")
    options = parser.parse_args()

    dataset = fast_load_iterable_dataset(options.path, split=options.split).shuffle(
        seed=options.seed
    )
    dataset = dataset.map(with_length).remove_columns("text")
    trainer = lightning.Trainer(
        max_epochs=options.epochs,
        accumulate_grad_batches=options.accumulate,
        accelerator="cpu",
        callbacks=[
            ModelCheckpoint(options.folder, every_n_train_steps=options.save_every, save_last=True),
            StopAfter(options.stop_after),
        ],
        logger=False,
    )
    last = options.folder / "last.ckpt"
    dataset = dataset.distribute(
        trainer.global_rank,
        trainer.world_size,
        options.batch_rows,
        # Several ranks need the same number of batches: the last ones are filled up.
        tail="uneven" if trainer.world_size == 1 else "pad",
    )
    trainer.fit(
        Model(options.ids),
        EpochLoader(dataset, options.batch_rows, options.workers),
        ckpt_path=last if last.exists() else None,
    )


if __name__ == "__main__":
    main()
