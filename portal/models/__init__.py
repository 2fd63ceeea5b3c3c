from portal.models.audit import AuditEvent
from portal.models.joining import (
    InstitutionApplication,
    Invitation,
    JoinRequest,
    Terms,
    TermsAcceptance,
)
from portal.models.mail import OutgoingMail
from portal.models.people import Funder, Institution, Lab, Membership, Role, User
from portal.models.projects import Project

__all__ = [
    "AuditEvent",
    "Funder",
    "Institution",
    "InstitutionApplication",
    "Invitation",
    "JoinRequest",
    "Lab",
    "Membership",
    "OutgoingMail",
    "Project",
    "Role",
    "Terms",
    "TermsAcceptance",
    "User",
]
