"""The addresses of the API of people and places, below /api/v1/."""

from rest_framework import routers

from portal.endpoints.invitations import Invitations
from portal.endpoints.join_requests import JoinRequests
from portal.endpoints.memberships import Memberships
from portal.endpoints.people import People
from portal.endpoints.places import Institutions, Labs
from portal.endpoints.terms import AllTerms

router = routers.SimpleRouter()
router.register("institutions", Institutions)
router.register("labs", Labs)
router.register("people", People)
router.register("memberships", Memberships)
router.register("invitations", Invitations)
router.register("join-requests", JoinRequests)
router.register("terms", AllTerms)
urlpatterns = router.urls
