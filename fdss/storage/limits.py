"""How much a dataset may claim. What goes beyond is damage, or is meant to do harm."""

from __future__ import annotations

#: Most bytes of the metadata of a message: a schema with its HF features, the outline of a batch.
MAX_METADATA_BYTES = 16 << 20
#: Most fields of a schema, those within structs and lists among them.
MAX_FIELDS = 32_768
#: Most levels of structs and lists within one another; Arrow's own reader takes no more.
MAX_DEPTH = 64
#: Most bytes of a record batch that is read as a whole, compressed or not, and of what it holds.
MAX_BATCH_BYTES = 1 << 32
#: Most values that take no bytes, as nulls do, of rows that are read at once.
MAX_BARE_VALUES = 1 << 24
#: Most bytes of a JSON file that describes a dataset.
MAX_JSON_BYTES = 64 << 20
