"""Accounts on clusters, for programs: how far one's own are; for staff, all of them, and who waits for a yes."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounting.models import Cluster
from jobs import actions
from jobs.account_words import in_words
from jobs.models import ClusterAccount
from portal.api import Endpoints, NoBodySerializer, person
from portal.permissions import Permission, check_permission


class ClusterAccountSerializer(serializers.ModelSerializer[ClusterAccount]):
    """`message`: what the cluster last said against it, in its own words."""

    person = serializers.CharField(source="user.name", read_only=True)
    email = serializers.EmailField(source="user.email", read_only=True)
    cluster = serializers.SlugRelatedField[Cluster](slug_field="name", read_only=True)
    explanation = serializers.SerializerMethodField(help_text="How far it is, in words.")

    class Meta:
        model = ClusterAccount
        fields = (
            "id",
            "person",
            "email",
            "cluster",
            "username",
            "state",
            "explanation",
            "message",
            "requested_at",
            "approved_at",
            "found_at",
            "shut_out_at",
        )

    def get_explanation(self, account: ClusterAccount) -> str:
        return in_words(account).sentence


class ClusterAccounts(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[ClusterAccount]):
    """My accounts on clusters; for the centre, everybody's."""

    queryset = ClusterAccount.objects.all()
    serializer_class = ClusterAccountSerializer
    lookup_value_regex = r"[0-9]{1,18}"

    def get_queryset(self) -> QuerySet[ClusterAccount]:
        visible = ClusterAccount.objects.visible_to(person(self.request))
        return visible.select_related("user", "cluster").order_by("pk")

    @extend_schema(request=NoBodySerializer, responses=ClusterAccountSerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """Let the cluster be asked for it, where its centre wants to say so first."""
        account = self.get_object()
        check_permission(person(request), Permission.APPROVE_ACCOUNTS)
        NoBodySerializer(data=request.data).is_valid(raise_exception=True)
        actions.approve_account(by=person(request), account=account)
        return Response(ClusterAccountSerializer(self.get_object()).data)
