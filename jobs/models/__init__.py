from jobs.models.accounts import Association, ClusterAccount, posix_name
from jobs.models.clusters import ClusterHealth, StartEstimate
from jobs.models.files import Fetch, JobFile, LogTail, Upload, a_week_from_now
from jobs.models.jobs import MAX_ATTEMPTS, Job, new_token

__all__ = [
    "MAX_ATTEMPTS",
    "Association",
    "ClusterAccount",
    "ClusterHealth",
    "Fetch",
    "Job",
    "JobFile",
    "LogTail",
    "StartEstimate",
    "Upload",
    "a_week_from_now",
    "new_token",
    "posix_name",
]
