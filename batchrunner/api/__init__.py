"""The Python face: what the command line calls, and what programs may call instead of it."""

from batchrunner.api.estimate import Estimate
from batchrunner.api.estimating import Drawing, Outlook, outlook
from batchrunner.api.lanecost import LaneEstimate, Range
from batchrunner.api.prepare import PreparedFile, Recipe, prepare
from batchrunner.api.reads import Reads, reads
from batchrunner.api.sampled import Sampled
from batchrunner.api.session import Outside, Planned, Session, session
from batchrunner.api.shortfall import Shortfall
from batchrunner.api.timing import Time
from batchrunner.api.values import JobStatus, Result
from batchrunner.core.job import Job
from batchrunner.core.slices import SLICES
from batchrunner.core.version import program_version
from batchrunner.formats.base import ExportSummary
from batchrunner.runner.checker import Checked, RefusedFileError, check
from batchrunner.runner.loader import Loaded
from batchrunner.runner.report import Halt, Interrupt, RunReport
from batchrunner.runner.signals import watch
from batchrunner.runner.snapshot import LaneView, PauseView, Snapshot
from batchrunner.runner.spending import BudgetView
from batchrunner.runner.tail import Tail
from batchrunner.wiring import attachments, price_book, tokenizer

__all__ = [
    "SLICES",
    "BudgetView",
    "Checked",
    "Drawing",
    "Estimate",
    "ExportSummary",
    "Halt",
    "Interrupt",
    "Job",
    "JobStatus",
    "LaneEstimate",
    "LaneView",
    "Loaded",
    "Outlook",
    "Outside",
    "PauseView",
    "Planned",
    "PreparedFile",
    "Range",
    "Reads",
    "Recipe",
    "RefusedFileError",
    "Result",
    "RunReport",
    "Sampled",
    "Session",
    "Shortfall",
    "Snapshot",
    "Tail",
    "Time",
    "attachments",
    "check",
    "outlook",
    "prepare",
    "price_book",
    "program_version",
    "reads",
    "session",
    "tokenizer",
    "watch",
]  # fmt: skip
