"""The Trainer of transformers over a served dataset, resumed at a row in the time of one request.

In one terminal ``fdss demo --keep``, which prints what to set in another one; there

    python examples/hf_trainer.py --stop-after 100
    python examples/hf_trainer.py

``Trainer(train_dataset=dataset)`` resumes exactly too, but reads all that it has seen once more.
Here the place in the data is saved with each checkpoint, in ``trainer_state.json``, and Trainer
gets a blank for each batch that it wants to skip.

It needs torch, transformers and accelerate. Under torchrun on a machine without a GPU set
``ACCELERATE_USE_CPU=true``: else accelerate takes every process for the only one, and each trains
on all rows.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, default_collate
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import get_last_checkpoint

from fdss.client import ComposableIterableDataset, fast_load_iterable_dataset


class Batches(IterableDataset[Any]):
    """The batches of one epoch after the other; a blank for each that an earlier run has had."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader = loader
        self.dataset = loader.dataset
        self.blanks = self.had = 0

    def __iter__(self) -> Iterator[Any]:
        if self.had:
            self.dataset.set_epoch(self.dataset.epoch + 1)
        blanks, self.blanks, self.had = self.blanks, 0, 0
        yield from repeat(None, blanks)
        for batch in self.loader:
            self.had += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return the place behind the batches that were had; it is the same on all ranks."""
        return self.dataset.state_after(self.had)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.dataset.load_state_dict(state)
        self.blanks = len(self.loader) - self.dataset.distribution.batches


class ReadyBatches(DataLoader[Any]):
    """What Trainer iterates and skips: batches as they are."""

    dataset: Batches

    def __init__(self, batches: Batches) -> None:
        super().__init__(batches, batch_size=None, collate_fn=_unchanged)

    def __len__(self) -> int:
        return len(self.dataset.loader)


def _unchanged(batch: Any) -> Any:
    return batch


class DataState(TrainerCallback, ExportableState):
    """Saves the place in the data with each checkpoint, and goes back there."""

    batches: Batches | None = None

    def state(self) -> dict[str, Any]:
        place = None if self.batches is None else self.batches.state_dict()
        return {"args": {}, "attributes": {"place": place}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        loader = objects["train_dataloader"]
        self.batches = loader.dataset
        if state.global_step:
            saved = state.stateful_callbacks["DataState"]["attributes"]
            self.batches.load_state_dict(saved["place"])
            steps = -(-len(loader) // args.gradient_accumulation_steps)
            if self.batches.blanks != state.global_step % steps * args.gradient_accumulation_steps:
                raise ValueError("Resume with the ranks, batches and accumulation of before.")


class ResumableTrainer(Trainer):
    """A Trainer that resumes its data by their state; every rank reads its own rows only."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.add_callback(DataState())

    def get_train_dataloader(self) -> ReadyBatches:
        args = self.args
        dataset = self.train_dataset.distribute(
            args.process_index,
            args.world_size,
            self._train_batch_size,
            # Several ranks need the same number of batches: the last ones are filled up.
            tail="uneven" if args.world_size == 1 else "pad",
        )
        loader = DataLoader(
            dataset,
            batch_size=self._train_batch_size,
            collate_fn=self.data_collator,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
        )
        return ReadyBatches(Batches(loader))


class Model(nn.Module):
    """A tiny model that says which of five labels a text has; it notes the rows it is given."""

    def __init__(self, ids: Path | None) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 5)
        self.ids = ids

    def forward(
        self,
        id: torch.Tensor,
        characters: torch.Tensor,
        score: torch.Tensor,
        label: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        if self.ids is not None:
            with self.ids.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"ids": id.tolist()}) + "\n")
        scores = self.layer(torch.stack([characters, score], dim=1).float())
        return {"loss": nn.functional.cross_entropy(scores, label), "logits": scores}


class StopAfter(TrainerCallback):
    """Saves and stops behind a step, as a job does whose time is over."""

    def __init__(self, step: int | None) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        if state.global_step == self.step:
            control.should_save = control.should_training_stop = True


def with_length(row: dict[str, Any]) -> dict[str, Any]:
    return {"characters": len(row["text"])}


def dataset(options: argparse.Namespace) -> ComposableIterableDataset:
    rows = fast_load_iterable_dataset(options.path, split=options.split).shuffle(seed=options.seed)
    return rows.map(with_length).select_columns(["id", "characters", "score", "label"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Train with Trainer, stop, go on at the next row.")
    parser.add_argument("--path", default="local/demo", help="dataset, as the server names it")
    parser.add_argument("--split", default="train")
    parser.add_argument("--seed", type=int, default=7, help="seed of the order")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-rows", type=int, default=64)
    parser.add_argument("--accumulate", type=int, default=2, help="batches to one step")
    parser.add_argument("--workers", type=int, default=2, help="DataLoader workers")
    parser.add_argument("--folder", default="hf_trainer", help="folder of the checkpoints")
    parser.add_argument("--stop-after", type=int, help="step behind which to stop")
    parser.add_argument("--ids", type=Path, help="file for the ids of the rows of each batch")
    options = parser.parse_args()

    arguments = TrainingArguments(
        output_dir=options.folder,
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch_rows,
        gradient_accumulation_steps=options.accumulate,
        dataloader_num_workers=options.workers,
        learning_rate=1e-3,
        save_steps=50,
        report_to=[],
    )
    trainer = ResumableTrainer(
        model=Model(options.ids),
        args=arguments,
        data_collator=default_collate,
        train_dataset=dataset(options),
        callbacks=[StopAfter(options.stop_after)],
    )
    last = get_last_checkpoint(options.folder) if Path(options.folder).is_dir() else None
    trainer.train(resume_from_checkpoint=last)


if __name__ == "__main__":
    main()
