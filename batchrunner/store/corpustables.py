"""The tables of corpora: texts to embed, where each of them is, and vectors.

A pack is a request, and its body holds its texts: they are stored nowhere else. The rules of ``tables`` hold here too.
"""

from sqlalchemy import Column, ForeignKey, Index, LargeBinary, UniqueConstraint

from batchrunner.store.columns import Whole, among, key, maybe_whole, maybe_words, part, table, whole, words

DROPPED, KEPT, LEAVING = 0, 1, 2
"""Whether a corpus has its vectors: none any more, all, or those only whose shard is not written yet."""

corpora = table(
    "corpora",
    key(),
    whole("job_id", ForeignKey("jobs.id")),
    words("model"),
    maybe_whole("dimensions"),  # NULL until the first vectors are there
    whole("normalize"),
    Column("params", LargeBinary, nullable=False),  # digest of everything but the texts that vectors depend on
    whole("keep"),  # KEPT, DROPPED or LEAVING
    whole("version"),  # of its items: each load of a source writes them anew, and this says which ones hold
    whole("texts"),
    UniqueConstraint("job_id"),
)

items = table(
    "items",
    part("corpus_id"),
    part("version"),
    part("seq"),
    part("part"),
    words("ext_id"),
    Column("text_hash", LargeBinary, nullable=False),
    Column("request_id", Whole, ForeignKey("requests.id")),
    whole("pos"),
    whole("weight"),
    Column("kept", LargeBinary, nullable=False),
    maybe_words("note"),
    among("note", "duplicate", "empty", "too_long", "truncated"),
    rowid=False,
)
Index("items_request", items.c.request_id, items.c.pos)

vectors = table(
    "vectors",  # the key is the promise, as of responses: the first complete answer wins
    Column("request_id", Whole, ForeignKey("requests.id"), primary_key=True, nullable=False, autoincrement=False),
    part("first"),  # place in the pack of this row's first vector
    whole("attempt_id"),
    whole("dim"),
    whole("count"),
    whole("crc"),
    Column("data", LargeBinary, nullable=False),  # count times dim float32, little-endian
)
