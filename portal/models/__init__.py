from portal.models.audit import AuditEvent
from portal.models.people import Funder, Institution, Lab, Membership, Role, User
from portal.models.projects import Project

__all__ = ["AuditEvent", "Funder", "Institution", "Lab", "Membership", "Project", "Role", "User"]
