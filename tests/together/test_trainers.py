"""Trainers of others over a server: stopped in the middle, resumed, and every row once."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from fdss.arguments import LoadArguments
from fdss.backend import Chunk, Selection
from fdss.client import ComposableIterableDataset, RemoteBackend, load_remote
from fdss.client.tallies import Tally
from fdss.config import ServerConfig
from fdss.serving import Server

pytestmark = [
    pytest.mark.torch,
    # torchdata 0.11 under a newer torch.
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),
    # The number of workers is what is tested, whatever the number of cores.
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    # Lightning 2.6 under a newer torch, and its advice.
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.. is:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning"),
    pytest.mark.filterwarnings("ignore:Your `IterableDataset` has `__len__`:UserWarning"),
]

EXAMPLES = Path(__file__).parents[2] / "examples"

EPOCHS = 2
BATCH_ROWS = 4
ACCUMULATED = 2

# 25 batches and a short one at the end, 26 of two workers with a short one each; 13 steps.
ROWS = 98

# Each of two workers has as many whole batches; 24 and 12 steps.
EVEN_ROWS = 96


@pytest.fixture(autouse=True)
def _packages() -> None:
    """Skip where the trainers are not installed."""
    for package in ("accelerate", "lightning", "torchdata", "transformers"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve rows like those of ``fdss demo``."""
    from datasets import Dataset

    folder = tmp_path_factory.mktemp("demo") / "saved"
    Dataset.from_dict(
        {
            "id": list(range(ROWS)),
            "text": ["grüße " * (row % 9) for row in range(ROWS)],
            "label": [row % 5 for row in range(ROWS)],
            "score": [row / ROWS for row in range(ROWS)],
        }
    ).save_to_disk(str(folder))
    with Server(ServerConfig(port=0, no_auth=True, local={"demo": folder})) as running:
        yield running


class NotingBackend(RemoteBackend):
    """A dataset of a server that notes the first place of all that is read.

    Attributes:
        reads: Those places, in order.
    """

    reads: list[int]

    def tallied_chunks(self, selection: Selection, tally: Tally) -> Iterator[Chunk]:
        """Yield the rows of a selection, counted."""
        self.reads.append(selection.positions.start)
        return super().tallied_chunks(selection, tally)


@pytest.fixture
def backend(server: Server) -> NotingBackend:
    """Load the rows through the server."""
    loaded = load_remote(server.url, LoadArguments("local/demo"))
    noting = NotingBackend(server.url, loaded.handle)
    noting.reads = []
    return noting


@pytest.fixture
def dataset(backend: NotingBackend) -> ComposableIterableDataset:
    """Take the two columns that the models here know."""
    return ComposableIterableDataset(backend).select_columns(["id", "score"])


def example(name: str) -> Any:
    """Return an example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


#: Trains from the newest checkpoint of a folder, or the start, to a step, and saves there, or to
#: the end; returns the ids of the rows of each batch that reached the model.
Train = Callable[[Path, int | None], list[list[int]]]


def assert_every_row_once(train: Train, folder: Path, rows: int, stops: Sequence[int]) -> None:
    """Check two epochs and that a run that was stopped goes on as one that was not."""
    whole = train(folder / "whole", None)
    ids = flat(whole)

    assert sorted(ids[:rows]) == sorted(ids[rows:]) == list(range(rows))
    assert ids[:rows] != ids[rows:]
    for stop in stops:
        before = train(folder / str(stop), stop)
        after = train(folder / str(stop), None)

        assert before + after == whole
        assert before and after


def flat(batches: Sequence[Sequence[int]]) -> list[int]:
    return [id for batch in batches for id in batch]


def train_with_transformers(
    trainer: Any, hf: Any, dataset: Any, options: dict[str, Any], folder: Path, stop: int | None
) -> list[list[int]]:
    from torch import Tensor, nn

    given: list[list[int]] = []

    class Model(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)

        def forward(self, id: Tensor, score: Tensor) -> dict[str, Tensor]:
            given.append(id.tolist())
            return {"loss": self.layer(score[:, None].float()).square().mean()}

    arguments = hf.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=BATCH_ROWS,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        **{"gradient_accumulation_steps": ACCUMULATED, **options},
    )
    training = trainer(
        model=Model(),
        args=arguments,
        data_collator=hf.default_collate,
        train_dataset=dataset.shuffle(seed=7),
        callbacks=[hf.StopAfter(stop)],
    )
    saved = hf.get_last_checkpoint(str(folder)) if folder.is_dir() else None
    training.train(resume_from_checkpoint=saved)
    return given


@pytest.mark.parametrize(
    ("workers", "limit"), [(0, {"num_train_epochs": EPOCHS}), (2, {"max_steps": 24})]
)
def test_the_trainer_of_transformers(
    dataset: ComposableIterableDataset, workers: int, limit: dict[str, int], tmp_path: Path
) -> None:
    """Trainer as it is takes the dataset, and goes on exactly by reading all it had once more."""
    hf = example("hf_trainer")
    options = {"dataloader_num_workers": workers, **limit}
    even = dataset.slice(0, EVEN_ROWS)
    train = partial(train_with_transformers, hf.Trainer, hf, even, options)

    assert_every_row_once(train, tmp_path, EVEN_ROWS, [7, 15])


@pytest.mark.parametrize(
    ("workers", "limit"), [(0, {"max_steps": 26}), (2, {"num_train_epochs": EPOCHS})]
)
def test_a_trainer_that_knows_its_place(
    dataset: ComposableIterableDataset, workers: int, limit: dict[str, int], tmp_path: Path
) -> None:
    """The Trainer of the example goes on exactly too, whatever batches the workers end with."""
    hf = example("hf_trainer")
    options = {"dataloader_num_workers": workers, **limit}
    train = partial(train_with_transformers, hf.ResumableTrainer, hf, dataset, options)

    assert_every_row_once(train, tmp_path, ROWS, [7, 13])


def test_what_is_read_to_resume(
    backend: NotingBackend, dataset: ComposableIterableDataset, tmp_path: Path
) -> None:
    """The Trainer of the example resumes at the row; the one it is made of reads from the start."""
    hf = example("hf_trainer")
    options = {"num_train_epochs": 1}
    stop = 7
    for trainer, first in ((hf.Trainer, 0), (hf.ResumableTrainer, stop * ACCUMULATED * BATCH_ROWS)):
        folder = tmp_path / trainer.__name__
        train_with_transformers(trainer, hf, dataset, options, folder, stop)
        backend.reads.clear()
        train_with_transformers(trainer, hf, dataset, options, folder, None)

        assert backend.reads == [first]


def test_other_batches_are_refused(dataset: ComposableIterableDataset, tmp_path: Path) -> None:
    """The Trainer of the example does not go on with another accumulation than it stopped with."""
    hf = example("hf_trainer")
    train = partial(train_with_transformers, hf.ResumableTrainer, hf, dataset)
    train({"num_train_epochs": 1}, tmp_path, 7)

    with pytest.raises(ValueError, match="batches and accumulation of before"):
        train({"num_train_epochs": 1, "gradient_accumulation_steps": 5}, tmp_path, None)


def train_with_lightning(
    loader: Callable[[], Any], names_epochs: bool, folder: Path, stop: int | None
) -> list[list[int]]:
    from torch import Tensor, nn, optim

    lightning = example("lightning_trainer").lightning
    callback: Any = lightning.Callback
    module: Any = lightning.LightningModule
    given: list[list[int]] = []
    saved = folder / "stopped.ckpt"

    class StopAfter(callback):  # type: ignore[misc]
        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
            if trainer.global_step == stop:
                trainer.save_checkpoint(saved)
                trainer.should_stop = True

    class Model(module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)

        def on_train_epoch_start(self) -> None:
            if names_epochs:
                self.trainer.train_dataloader.dataset.set_epoch(self.current_epoch)

        def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
            given.append(batch["id"].tolist())
            return self.layer(batch["score"][:, None].float()).square().mean()

        def configure_optimizers(self) -> optim.Optimizer:
            return optim.SGD(self.parameters(), lr=0.1)

    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        accumulate_grad_batches=ACCUMULATED,
        callbacks=[StopAfter()],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        logger=False,
    )
    trainer.fit(Model(), loader(), ckpt_path=saved if saved.exists() else None)
    return given


@pytest.mark.parametrize("workers", [0, 2])
def test_lightning(dataset: ComposableIterableDataset, workers: int, tmp_path: Path) -> None:
    """Lightning saves the state of torchdata's loader and goes on exactly in the middle."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    def loader() -> Any:
        even = dataset.slice(0, EVEN_ROWS).shuffle(seed=7)
        return StatefulDataLoader(even, batch_size=BATCH_ROWS, num_workers=workers)

    train = partial(train_with_lightning, loader, True)

    assert_every_row_once(train, tmp_path, EVEN_ROWS, [7, 15])


@pytest.mark.parametrize("workers", [0, 2])
def test_lightning_with_epochs(
    dataset: ComposableIterableDataset, workers: int, tmp_path: Path
) -> None:
    """With the loader of the example Lightning goes on exactly from the end of an epoch too."""
    lightning = example("lightning_trainer")

    def loader() -> Any:
        shared_out = dataset.shuffle(seed=7).distribute(0, 1, BATCH_ROWS, tail="uneven")
        return lightning.EpochLoader(shared_out, BATCH_ROWS, workers)

    train = partial(train_with_lightning, loader, False)

    assert_every_row_once(train, tmp_path, ROWS, [7, 13])


Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def _named_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGATHER_DATASET_SERVER", server.url)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def run_example(_named_server: None, run_python: Run) -> Run:
    """Return a call that runs an example with small batches in a process of its own."""

    def run(name: str, *options: str, launcher: Sequence[str] = (), check: bool = True) -> Any:
        script = str(EXAMPLES / f"{name}.py")
        small = ("--batch-rows", str(BATCH_ROWS), "--epochs", str(EPOCHS))
        return run_python(*launcher, script, *small, *options, check=check)

    return run


def noted(file: Path, steps: range | None = None) -> list[int]:
    """Return the ids that an example has noted, of some steps or of all."""
    lines = map(json.loads, file.read_text("utf-8").splitlines())
    return flat([line["ids"] for line in lines if steps is None or line["step"] in steps])


def assert_whole_epochs(ids: list[int], rows: int) -> None:
    assert len(ids) == EPOCHS * rows
    for epoch in range(EPOCHS):
        assert sorted(ids[epoch * rows :][:rows]) == list(range(rows))


def test_the_example_of_a_plain_loop(run_example: Run, tmp_path: Path) -> None:
    """A loop that dies behind a checkpoint goes on from there, with every row once."""
    died = run_example(
        "torch_loop", "--save-every=10", "--stop-after=33", "--ids=before", check=False
    )
    went_on = run_example("torch_loop", "--ids=after")

    assert died.returncode == 9
    assert "resumed behind step 30" in went_on.stdout
    before = noted(tmp_path / "before", range(1, 31))
    assert_whole_epochs(before + noted(tmp_path / "after"), ROWS)


@pytest.mark.parametrize(
    ("name", "options"), [("hf_trainer", []), ("lightning_trainer", ["--save-every=17"])]
)
def test_the_example_of_a_trainer(
    run_example: Run, name: str, options: list[str], tmp_path: Path
) -> None:
    """A trainer that stops in the second epoch goes on in another process, with every row once."""
    run_example(name, *options, "--stop-after=17", "--ids=before")
    run_example(name, *options, "--workers=0", "--ids=after")
    before, after = noted(tmp_path / "before"), noted(tmp_path / "after")

    assert len(before) == ROWS + 8 * BATCH_ROWS
    assert_whole_epochs(before + after, ROWS)


def test_the_example_of_ranks(run_example: Run, tmp_path: Path) -> None:
    """Three ranks go on where two have stopped, with every row once."""
    rank = Path(__file__).parents[1] / "rank.py"
    ranks = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    options = ["--workers=0", "--save-every=6", f"--split=train[:{EVEN_ROWS}]"]
    for count, more in (("2", ["--stop-after=8", "--ids=before"]), ("3", ["--ids=after"])):
        run_example("ddp_loop", *options, *more, launcher=[*ranks, count, str(rank)])

    before = noted(tmp_path / "before", range(1, 7))
    after = noted(tmp_path / "after", range(7, 11)), noted(tmp_path / "after", range(11, 19))
    assert len(before) == 2 * 6 * BATCH_ROWS
    assert_whole_epochs([*before, *after[0], *after[1]], EVEN_ROWS)
