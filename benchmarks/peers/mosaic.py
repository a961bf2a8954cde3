"""MosaicML Streaming, reading its own format on the same machine."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..children import Read, counted
from ..workloads import Workload

ENCODINGS = {"int64": "int64", "float64": "float64", "string": "str", "binary": "bytes"}


def converted(workload: Workload, rows: int) -> Path:
    """Return a folder with the first rows of a text workload in its format, made if need be."""
    from datasets import load_from_disk
    from streaming import MDSWriter

    folder = workload.folder.with_name(f"{workload.folder.name}-mosaic-{rows}")
    if not (folder / "index.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        dataset = load_from_disk(str(workload.folder)).select(range(rows))
        columns = {name: ENCODINGS[kind.dtype] for name, kind in dataset.features.items()}
        with MDSWriter(out=str(folder), columns=columns) as writer:
            for row in dataset:
                writer.write(row)
    return folder


def local_rows(folder: str) -> Read:
    """Return a pass with ``for row in dataset``."""
    from streaming import StreamingDataset

    dataset = StreamingDataset(local=folder, batch_size=1000)
    return counted(dataset)
