"""The ``fdss`` command."""
