"""Decoding that takes for ever over one file: none that is accepted takes longer than a few seconds."""

import sys

from brain_tumor.serving import cli, decoders

SLOW = b"slow"

read_at_once = decoders._read


def read(reader, content, content_type):
    """As `decoders._read`, in whose place it is put; but of `SLOW` it never comes to an end."""
    while content == SLOW:
        pass
    return read_at_once(reader, content, content_type)


def main():
    """`brain-tumor` with such decoding."""
    decoders._read, decoders.DEADLINE = read, 3.0
    sys.exit(cli.main())
