"""The tables of the archive; the words are in tables of their own, see `words`."""

from __future__ import annotations

import sqlalchemy as sa

FORMAT = 3

metadata = sa.MetaData()
_Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")

packets = sa.Table(
    "packets",
    metadata,
    sa.Column("number", _Number, primary_key=True, autoincrement=False),
    sa.Column("identity", sa.Text, nullable=False, index=True),
    sa.Column("sha256", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("received", sa.Double, nullable=False, index=True),  # for an imported packet: when it was written
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False, index=True),  # the event in its stream's own numbering
    sa.Column("time", sa.Double, index=True),
    sa.Column("ra", sa.Double),
    sa.Column("dec", sa.Double),
    sa.Column("cell", sa.BigInteger),  # nested HEALPix, see healpix.py
    sa.Column("alert", sa.LargeBinary),  # the Alert as JSON; NULL where it could not be understood
    sa.Column("error", sa.Text),  # why it could not be, or why it was refused when it came
    sa.Index("packets_cell", "cell", "received"),
    sa.Index("packets_stream", "stream", "received"),
    sa.Index("packets_role", "role", "received"),
    sa.Index("packets_kind", "kind", "received"),
)
raw = sa.Table(
    "raw",
    metadata,
    sa.Column("number", _Number, primary_key=True, autoincrement=False),
    sa.Column("packet", sa.LargeBinary, nullable=False),  # zlib
)
citations = sa.Table(
    "citations",
    metadata,
    sa.Column("packet", _Number, primary_key=True, autoincrement=False),
    sa.Column("cited", sa.Text, primary_key=True),
    sa.Index("citations_cited", "cited"),
)
names = sa.Table(  # which event a key belongs to: packets that cite each other join what several missions numbered
    "names",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("event", sa.Text, nullable=False, index=True),
)
cursors = sa.Table(
    "cursors",
    metadata,
    sa.Column("origin", sa.Text, primary_key=True),
    sa.Column("epoch", sa.Text, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
)
meta = sa.Table("meta", metadata, sa.Column("format", sa.Integer, primary_key=True, autoincrement=False))
volumes = sa.Table(  # of the index of words, see words.py
    "volumes",
    metadata,
    sa.Column("volume", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("first", sa.BigInteger, nullable=False),  # the number of its first packet
    sa.Column("oldest", sa.Double, nullable=False),  # of its packets: when they were received
    sa.Column("newest", sa.Double, nullable=False),
)
