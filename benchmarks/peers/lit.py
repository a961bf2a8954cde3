"""LitData, reading its own format on the same machine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ..children import Read, counted
from ..workloads import Workload


def converted(workload: Workload, rows: int) -> Path:
    """Return a folder with the first rows of a workload in its format, made if need be."""
    from datasets import load_from_disk
    from litdata.streaming.writer import BinaryWriter

    folder = workload.folder.with_name(f"{workload.folder.name}-litdata-{rows}")
    if not (folder / "index.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        writer: Any = BinaryWriter(str(folder), chunk_bytes="64MB")
        for number, row in enumerate(load_from_disk(str(workload.folder)).select(range(rows))):
            writer.add_item(number, row)
        writer.done()
        writer.merge()
    return folder


def local_rows(folder: str) -> Read:
    """Return a pass with ``for row in dataset``."""
    from litdata import StreamingDataset

    dataset = StreamingDataset(folder)
    return counted(dataset)
