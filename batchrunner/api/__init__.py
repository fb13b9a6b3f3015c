"""The Python face: what the command line calls, and what programs may call instead of it."""

from batchrunner.api.estimate import Estimate
from batchrunner.api.prepare import PreparedFile, Recipe, prepare
from batchrunner.api.reads import SLICES, Reads, reads
from batchrunner.api.session import Outside, Planned, Session, session
from batchrunner.api.values import JobStatus, Result
from batchrunner.core.job import Job
from batchrunner.core.version import program_version
from batchrunner.formats.base import ExportSummary
from batchrunner.runner.checker import Checked, RefusedFileError, check
from batchrunner.runner.loader import Loaded
from batchrunner.runner.report import Halt, Interrupt, RunReport
from batchrunner.runner.signals import watch
from batchrunner.runner.snapshot import LaneView, PauseView, Snapshot
from batchrunner.runner.tail import Tail
from batchrunner.wiring import attachments, price_book, tokenizer

__all__ = [
    "SLICES",
    "Checked",
    "Estimate",
    "ExportSummary",
    "Halt",
    "Interrupt",
    "Job",
    "JobStatus",
    "LaneView",
    "Loaded",
    "Outside",
    "PauseView",
    "Planned",
    "PreparedFile",
    "Reads",
    "Recipe",
    "RefusedFileError",
    "Result",
    "RunReport",
    "Session",
    "Snapshot",
    "Tail",
    "attachments",
    "check",
    "prepare",
    "price_book",
    "program_version",
    "reads",
    "session",
    "tokenizer",
    "watch",
]  # fmt: skip
