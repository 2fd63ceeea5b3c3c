from portal.models.audit import AuditEvent
from portal.models.log_in import FailedLogIn
from portal.models.people import Funder, Institution, Lab, Membership, Role, User
from portal.models.projects import Project

__all__ = [
    "AuditEvent",
    "FailedLogIn",
    "Funder",
    "Institution",
    "Lab",
    "Membership",
    "Project",
    "Role",
    "User",
]
