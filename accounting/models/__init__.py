from accounting.models.allocations import (
    Allocation,
    AllocationState,
    BudgetNotice,
    PersonCap,
    ProgressReport,
)
from accounting.models.clusters import ChargeFactor, Cluster, GpuWeight, Partition
from accounting.models.collecting import Collection, QuarantinedRecord
from accounting.models.corrections import BalanceDifference, Correction, RefundProposal
from accounting.models.fences import SHUT, Fence, allocation_named, budget_name
from accounting.models.ledger import Hold, LedgerEntry
from accounting.models.maintenance import Maintenance
from accounting.models.measuring import Capability, CollectionWindow, ReadMonth
from accounting.models.months import ClosedMonth, UsageCorrection
from accounting.models.reconciling import Discrepancy, Outcome, Reconciliation
from accounting.models.requests import AllocationRequest, Attachment, Publication, RequestLine
from accounting.models.reviews import (
    Call,
    FieldComment,
    Policy,
    Review,
    TechnicalReview,
    Tranche,
    policy_of,
)
from accounting.models.submissions import COMMENTABLE, Submission
from accounting.models.sums import LedgerSum
from accounting.models.usage import UsageDay, UsageRecord

__all__ = [
    "COMMENTABLE",
    "SHUT",
    "Allocation",
    "AllocationRequest",
    "AllocationState",
    "Attachment",
    "BalanceDifference",
    "BudgetNotice",
    "Call",
    "Capability",
    "ChargeFactor",
    "ClosedMonth",
    "Cluster",
    "Collection",
    "CollectionWindow",
    "Correction",
    "Discrepancy",
    "Fence",
    "FieldComment",
    "GpuWeight",
    "Hold",
    "LedgerEntry",
    "LedgerSum",
    "Maintenance",
    "Outcome",
    "Partition",
    "PersonCap",
    "Policy",
    "ProgressReport",
    "Publication",
    "QuarantinedRecord",
    "ReadMonth",
    "Reconciliation",
    "RefundProposal",
    "RequestLine",
    "Review",
    "Submission",
    "TechnicalReview",
    "Tranche",
    "UsageCorrection",
    "UsageDay",
    "UsageRecord",
    "allocation_named",
    "budget_name",
    "policy_of",
]
