"""The tables of the books, which refer to no other: cards that attempts are priced by, prices, and the rollups.

The rules of ``tables`` hold for them too.
"""

from sqlalchemy import CheckConstraint, Column, LargeBinary, Text, UniqueConstraint

from batchrunner.core.usage import OTHERS
from batchrunner.store.columns import Whole, added, among, key, maybe_whole, part, table, whole, words

rates = table(
    "rates",
    key(),
    Column("digest", LargeBinary, nullable=False),
    words("provider"),
    words("model"),
    words("class", default="live"),
    whole("valid_from"),
    words("card"),  # the whole frozen card as JSON
    UniqueConstraint("digest"),
)

prices = table(
    "prices",  # what people set here; one row for each meter of an entry
    key(),
    words("names"),  # a JSON list of models and patterns
    words("provider"),
    words("meter"),
    words("unit"),
    maybe_whole("pico"),
    maybe_whole("above_tokens"),
    words("class", default="live"),
    words("contract", default=""),
    whole("valid_from"),
    words("source"),
    maybe_whole("retrieved"),  # a day, counted from 1970
    added(whole("entry", default=0)),
    added(maybe_whole("discount")),  # in millionths
    added(maybe_whole("steps")),
)

counts = table(
    "counts",
    part("job_id"),
    part("model_id"),
    part("state", Text),
    whole("n"),
    CheckConstraint("n >= 0", name="n"),
    rowid=False,
)

TOTALS_KEY = (
    *("day", "job_id", "model_id", "endpoint", "tag_set_id", "rate_id", "account", "class"),
    *("billing", "use", "usage_from", "outcome"),
)
TOTALS_SUMS = ("n", "tin", "tcached", "tout", "treason", "cost", "hold", "unpriced", *OTHERS)
_TEXTS = {"endpoint", "account", "class", "billing", "use", "usage_from", "outcome"}

totals = table(
    "totals",
    *(part(name, Text if name in _TEXTS else Whole) for name in TOTALS_KEY),
    *(whole(name) for name in TOTALS_SUMS if name not in OTHERS),
    *(added(whole(name, default=0)) for name in OTHERS),
    CheckConstraint("n >= 0", name="n"),
    rowid=False,
)

retags = table(
    "retags",  # what ``retag`` said of jobs' tags after they were loaded, in its order; the jobs have what holds now
    key(),
    whole("job_id"),
    whole("at"),
    words("change"),  # a JSON object: null takes a tag away
    whole("lines"),  # 1: also where lines had tags of their own
)

budgets = table(
    "budgets",
    key(),
    words("scope"),
    words("ref"),  # a job's number, or a tag as key=value
    words("period"),
    whole("cap"),  # pico-dollars
    words("warn"),  # percent of the cap, as a JSON list
    whole("changed"),
    UniqueConstraint("scope", "ref", "period"),
    among("scope", "all", "job", "tag"),
    among("period", "ever", "day", "month"),
    CheckConstraint("cap >= 0", name="cap"),
)
