"""How much a client takes from a server, which may be broken or hostile."""

from __future__ import annotations

import os
from dataclasses import Field, dataclass, field, fields

from fdss.errors import AnswerTooLarge, SettingError

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

# Python values of small rows take several times the bytes they came as.
_BYTES_A_VALUE = 4


def _limit(default: int, variable: str, meaning: str, least: int = 1) -> int:
    metadata = {"variable": variable, "meaning": meaning, "least": least}
    found: int = field(default=default, metadata=metadata)
    return found


@dataclass(frozen=True)
class ClientLimits:
    """The most that is taken from a server; each has a variable of the environment.

    What is more ends in ``AnswerTooLarge``, which names the variable.

    Attributes:
        length_rows: Stored rows that a dataset may have.
        row_bytes: Longest row: a line of JSON, and what a page may take for every row of it.
        batch_bytes: Largest record batch, decompressed; a longer row raises it.
        answer_bytes: Longest JSON answer.
        answer_depth: Levels of lists and objects in a JSON answer.
        columns: Columns of a dataset.
        type_depth: Levels of lists and structs in the type of a column.
        head_bytes: Status line and headers of an answer, interim answers included.
        least_bytes_s: Bytes a second below which an answer that never stops is given up; 0 for
            any. Rows that arrive start the count anew.
        image_pixels: Pixels of an image that is decoded; 0 for as many as Pillow itself decodes.
    """

    length_rows: int = _limit(
        1 << 40, "FORGATHER_DATASET_CLIENT_MAX_LENGTH_ROWS", "rows a dataset may have"
    )
    row_bytes: int = _limit(
        512 * MIB, "FORGATHER_DATASET_CLIENT_MAX_ROW_BYTES", "bytes of one row, as it is sent"
    )
    batch_bytes: int = _limit(
        GIB,
        "FORGATHER_DATASET_CLIENT_MAX_BATCH_BYTES",
        "bytes of one record batch, decompressed; a longer row is allowed by the row's limit",
    )
    answer_bytes: int = _limit(
        32 * MIB, "FORGATHER_DATASET_CLIENT_MAX_ANSWER_BYTES", "bytes of a JSON answer"
    )
    answer_depth: int = _limit(
        256, "FORGATHER_DATASET_CLIENT_MAX_ANSWER_DEPTH", "nested levels of a JSON answer"
    )
    columns: int = _limit(
        65_536, "FORGATHER_DATASET_CLIENT_MAX_COLUMNS", "columns a dataset may have"
    )
    type_depth: int = _limit(
        48, "FORGATHER_DATASET_CLIENT_MAX_TYPE_DEPTH", "nested levels of a column's type"
    )
    head_bytes: int = _limit(
        64 * KIB,
        "FORGATHER_DATASET_CLIENT_MAX_HEAD_BYTES",
        "bytes of an answer's status line and headers",
    )
    least_bytes_s: int = _limit(
        KIB,
        "FORGATHER_DATASET_CLIENT_MIN_BYTES_PER_SECOND",
        "bytes a second below which an answer that brings no row is given up; 0 for any",
        least=0,
    )
    image_pixels: int = _limit(
        0,
        "FORGATHER_DATASET_CLIENT_MAX_IMAGE_PIXELS",
        "pixels of an image; 0 for as many as Pillow itself decodes",
        least=0,
    )

    @classmethod
    def from_environment(cls) -> ClientLimits:
        """Return the limits that the environment sets.

        Raises:
            SettingError: A variable holds no whole number, or one that is too small.
        """
        given = {limit.name: _read(limit) for limit in fields(cls)}
        return cls(**{name: value for name, value in given.items() if value is not None})

    @property
    def most_batch_bytes(self) -> int:
        """Return the bytes that a record batch may have, which is no less than a row may."""
        return max(self.batch_bytes, self.row_bytes)

    @property
    def most_values(self) -> int:
        """Return how many values a record batch may hold, those inside of lists counted."""
        return self.most_batch_bytes // _BYTES_A_VALUE

    def check(self, name: str, found: int, what: str) -> None:
        """Refuse what is beyond a limit.

        Args:
            name: The limit, an attribute.
            what: What was found, in words, for the message.

        Raises:
            AnswerTooLarge: It is.
        """
        if found > getattr(self, name):
            raise self.too_large(name, what)

    def too_large(self, name: str, what: str) -> AnswerTooLarge:
        """Return the error of what is beyond a limit."""
        variable = self.__dataclass_fields__[name].metadata["variable"]
        return AnswerTooLarge(
            f"{what}; {getattr(self, name):,} is the limit.",
            hint=f"if the server is to be trusted with more, set {variable}",
        )


def _read(limit: Field[int]) -> int | None:
    variable, least = limit.metadata["variable"], limit.metadata["least"]
    given = os.environ.get(variable, "").strip()
    if not given:
        return None
    is_number = given.isascii() and given.isdigit() and len(given) < 19
    if not is_number or int(given) < least:
        raise SettingError(
            f"{variable} is {given[:40]!r}, not a whole number from {least} on.",
            hint=f"unset it for {limit.default}",
        )
    return int(given)
