"""What the wiring hands to a run."""

from collections.abc import Callable
from dataclasses import dataclass, field

from batchrunner.core.attachments import Attachments, NoAttachments
from batchrunner.core.clock import Clock
from batchrunner.core.gate import Gate
from batchrunner.core.pauses import PATIENCE, Patience
from batchrunner.core.pricing import PriceBook
from batchrunner.core.request import Lane
from batchrunner.core.retry import RetryPolicy
from batchrunner.endpoints.base import Classifier
from batchrunner.runner.artifacts import Artifacts
from batchrunner.runner.judging import NO_WISHES, Wishes
from batchrunner.runner.laning import no_bound
from batchrunner.runner.notify import Notifier
from batchrunner.runner.offload import Offload
from batchrunner.runner.spending import Money
from batchrunner.runner.storage import Storage
from batchrunner.runner.suspension import suspended_seconds
from batchrunner.store.base import RunnerInfo, Store
from batchrunner.transport.base import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the wiring hands to a run."""

    queue: Store
    offload: Offload
    storage: Storage
    artifacts: Artifacts
    clock: Clock
    dice: Callable[[], float]
    policy: RetryPolicy
    prices: PriceBook
    info: RunnerInfo
    accounts: dict[str, str]
    """Label of the account by provider."""
    transport: Callable[[str], Transport]
    """Makes the transport of a provider; entered as an async context."""
    classifier: Callable[[str], Classifier]
    """The refusal table of a provider."""
    gate: Callable[[Lane, bytes | None, float], Gate]
    """Makes a lane's gate from what was learned of it, at a monotonic time."""
    most_out: Callable[[Lane], int | None] = no_bound
    """The output tokens of a call that sets no bound, at most; None: nobody knows."""
    money: Money = field(default_factory=Money)
    patience: Patience = PATIENCE
    wishes: Wishes = NO_WISHES
    notifier: Notifier | None = None
    keep_partial: bool = False
    """Whether what had come of a streamed answer is kept where its row fails for good."""
    suspended: Callable[[], float] = suspended_seconds
    """Seconds that the machine was suspended since it booted."""
    attachments: Attachments = field(default_factory=NoAttachments)
    """The local files that bodies may refer to."""
    file_offload: Offload | None = None
    """Where they are read, which may take its time; None: where the store's calls run."""
