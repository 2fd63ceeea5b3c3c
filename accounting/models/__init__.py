from accounting.models.allocations import Allocation, AllocationRequest, Review
from accounting.models.clusters import ChargeFactor, Cluster, Partition
from accounting.models.collecting import Collection, QuarantinedRecord
from accounting.models.ledger import Hold, LedgerEntry
from accounting.models.usage import UsageDay, UsageRecord

__all__ = [
    "Allocation",
    "AllocationRequest",
    "ChargeFactor",
    "Cluster",
    "Collection",
    "Hold",
    "LedgerEntry",
    "Partition",
    "QuarantinedRecord",
    "Review",
    "UsageDay",
    "UsageRecord",
]
