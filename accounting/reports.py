"""What the ledger and the usage say, for people to read: one function per question, each a constant number of queries.

Nothing here writes. Amounts are integer GPU-seconds; months and days are UTC.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from django.db.models import (
    BigIntegerField,
    Case,
    CharField,
    Count,
    F,
    Max,
    Min,
    Q,
    QuerySet,
    Sum,
    Value,
    When,
    Window,
)
from django.db.models.functions import Cast, Coalesce, Concat, TruncDate, TruncMonth
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from accounting import ledger
from accounting.ledger import Balance
from accounting.models import Allocation, AllocationRequest, Collection, LedgerEntry, Review, UsageDay
from accounting.periods import Month, Period, month_of
from portal.models import AuditEvent, Funder, Project, Role, User
from portal.models.people import CENTRE_ROLES

FEW = 3  # a cell of fewer people is merged where people must not be told apart

# ── Where does a project stand? ──────────────────────────────────────────────


@dataclass(frozen=True)
class AllocationStanding:
    """One allocation on one day."""

    allocation: Allocation
    balance: Balance
    on: date

    @property
    def days_total(self) -> int:
        return (self.allocation.end - self.allocation.start).days + 1

    @property
    def days_gone(self) -> int:
        return min(max((self.on - self.allocation.start).days, 0), self.days_total)

    @property
    def is_active(self) -> bool:
        return self.allocation.is_active(self.on)


@dataclass(frozen=True)
class Standing:
    """A project with its allocations; `total` is of those that are active, over all clusters."""

    project: Project
    allocations: tuple[AllocationStanding, ...]

    @property
    def active(self) -> tuple[AllocationStanding, ...]:
        return tuple(one for one in self.allocations if one.is_active)

    @property
    def total(self) -> Balance:
        return sum((one.balance for one in self.active), Balance())

    @property
    def until(self) -> date | None:
        """The day on which the next of its hours end."""
        return min((one.allocation.end for one in self.active), default=None)


def standings(projects: Iterable[Project], *, on: date) -> list[Standing]:
    """Each project's allocations with their balances: three queries, whatever their number."""
    projects = list(projects)
    allocations = list(
        Allocation.objects.filter(project__in=projects).select_related("cluster", "project__lab")
    )
    balances = ledger.balances(allocations)
    by_project: dict[int, list[AllocationStanding]] = defaultdict(list)
    for allocation in allocations:
        by_project[allocation.project_id].append(AllocationStanding(allocation, balances[allocation.pk], on))
    return [Standing(project, tuple(by_project[project.pk])) for project in projects]


def my_standings(user: User, *, on: date, most: int = 6) -> list[Standing]:
    """For Home: the active projects of my labs (or of my institution), those that end first on top."""
    projects = Project.objects.active().of_labs_of(user)
    if Role.INSTITUTION_ADMIN in user.roles and not user.roles & {*CENTRE_ROLES}:
        projects = Project.objects.active().visible_to(user)
    rows = standings(projects.select_related("lab"), on=on)
    return sorted(rows, key=lambda row: (row.until or date.max, row.project.title))[:most]


# ── What waits for me? ───────────────────────────────────────────────────────


@dataclass(frozen=True)
class Waiting:
    """Requests whose next step is the person's: to decide on, or to finish and send."""

    to_decide: list[AllocationRequest] = field(default_factory=list)
    to_decide_count: int = 0
    to_finish: list[AllocationRequest] = field(default_factory=list)


def waiting_for(user: User, *, most: int = 5) -> Waiting:
    """For Home. The centre decides, oldest first; a PI finishes drafts and what was returned."""
    mine = AllocationRequest.objects.visible_to(user).select_related(
        "project__lab__institution", "cluster", "created_by"
    )
    to_decide = mine.waiting().exclude(created_by=user).order_by("submitted_at", "pk")
    decides = bool(user.roles & {*CENTRE_ROLES})
    to_finish = mine.filter(
        state__in=(AllocationRequest.State.DRAFT, AllocationRequest.State.RETURNED),
        project__lab__in=[m.lab_id for m in user.current_memberships if m.role == Role.PI],
    )
    return Waiting(
        to_decide=list(to_decide[:most]) if decides else [],
        to_decide_count=to_decide.count() if decides else 0,
        to_finish=list(to_finish.order_by("created_at", "pk")[:most]),
    )


# ── Who uses a project's hours? ──────────────────────────────────────────────


@dataclass(frozen=True)
class Share:
    """One person's part. `name` is the POSIX user where the portal does not know the person."""

    name: str
    gpu_seconds: int
    percent: Decimal


def shares(project: Project) -> list[Share]:
    """Device-seconds by person, of all time, the largest first."""
    rows = list(
        UsageDay.objects.filter(project=project)
        .values("person__name", "person", posix=Case(When(person=None, then=F("user")), default=Value("")))
        .order_by()
        .annotate(sum=Sum("gpu_seconds"))
        .order_by("-sum")
    )
    total = sum(row["sum"] for row in rows)
    return [
        Share(row["person__name"] or row["posix"], row["sum"], _percent(row["sum"], total)) for row in rows
    ]


def _percent(part: int, whole: int) -> Decimal:
    return (Decimal(100 * part) / whole).quantize(Decimal("0.1")) if whole else Decimal(0)


# ── How fast are the hours used? ─────────────────────────────────────────────


@dataclass(frozen=True)
class Burn:
    """What is left of an allocation, day by day from its start to today, and how long it lasts at the recent pace."""

    days: tuple[date, ...]
    left: tuple[int, ...]
    granted: int
    lasts_from: date | None = None  # at the faster of the 7-day and the 28-day pace
    lasts_until: date | None = None  # at the slower one

    @property
    def has_forecast(self) -> bool:
        return self.lasts_from is not None


def burn(standing: AllocationStanding) -> Burn:
    """One query. No forecast from fewer than seven days, or where nothing is used or left."""
    allocation, today = standing.allocation, min(standing.on, standing.allocation.end)
    used = _used_by_day(allocation)
    days = [allocation.start + timedelta(days=n) for n in range((today - allocation.start).days + 1)]
    left, rest = (
        [],
        standing.balance.granted - sum(amount for day, amount in used.items() if day < allocation.start),
    )
    for day in days:
        rest -= used.get(day, 0)
        left.append(rest)
    soon, late = _lasts(used, standing, len(days))
    return Burn(tuple(days), tuple(left), standing.balance.granted, soon, late)


def _used_by_day(allocation: Allocation) -> dict[date, int]:
    rows = (
        allocation.entries.filter(usage_record__isnull=False)
        .order_by()
        .values(day=TruncDate(Coalesce("usage_record__held_until", "at")))
        .annotate(sum=Sum("gpu_seconds"))
    )
    return {row["day"]: -row["sum"] for row in rows}


def _lasts(used: dict[date, int], standing: AllocationStanding, days: int) -> tuple[date | None, date | None]:
    if days < 7 or standing.balance.available <= 0 or not standing.is_active:
        return None, None
    paces = []
    for span in (7, min(28, days)):
        since = standing.on - timedelta(days=span)
        paces.append(
            Decimal(sum(amount for day, amount in used.items() if since < day <= standing.on)) / span
        )
    if min(paces) <= 0:
        return None, None
    ends = sorted(
        standing.on + timedelta(days=min(int(standing.balance.available / pace), 36_500)) for pace in paces
    )
    return ends[0], ends[1]


# ── What happened on an allocation? ──────────────────────────────────────────


@dataclass(frozen=True)
class Statement:
    """Sums of an allocation's entries, as a bank would write them. Opening is zero: an allocation begins with its grant."""

    granted: int
    charged: int  # as a negative number
    corrected: int  # adjustments and refunds
    moved: int  # transfers and expiry
    closing: int
    first_at: datetime | None
    last_at: datetime | None


def statement(allocation: Allocation) -> Statement:
    kinds = LedgerEntry.Kind

    def total(*wanted: str) -> Sum:
        return Sum("gpu_seconds", filter=Q(kind__in=wanted), default=0)

    return Statement(
        **allocation.entries.aggregate(
            granted=total(kinds.GRANT),
            charged=total(kinds.CHARGE),
            corrected=total(kinds.ADJUSTMENT, kinds.REFUND),
            moved=total(kinds.TRANSFER, kinds.EXPIRY),
            closing=Sum("gpu_seconds", default=0),
            first_at=Min("at"),
            last_at=Max("at"),
        )
    )


def statement_lines(allocation: Allocation) -> QuerySet[LedgerEntry]:
    """The entries, newest first, each with `balance_after`."""
    running = Window(Sum("gpu_seconds"), order_by=[F("at").asc(), F("pk").asc()])
    return (
        allocation.entries.annotate(balance_after=Cast(running, BigIntegerField()))
        .select_related("usage_record__person", "actor", "cites")
        .order_by("-at", "-pk")
    )


# ── What has an institution had so far? ──────────────────────────────────────


@dataclass(frozen=True)
class History:
    """An institution at a glance, for whoever decides on its next request."""

    granted: int
    used: int
    requests: int
    approved: int
    rejected: int


def histories(institutions: Iterable[int]) -> dict[int, History]:
    """By the institution's pk: two queries, whatever their number."""
    institutions = set(institutions)
    of_runs = Q(usage_record__isnull=False)
    sums = {
        row["pk"]: row
        for row in LedgerEntry.objects.filter(allocation__project__lab__institution__in=institutions)
        .order_by()
        .values(pk=F("allocation__project__lab__institution"))
        .annotate(
            granted=Sum("gpu_seconds", filter=~of_runs, default=0),
            used=Sum("gpu_seconds", filter=of_runs, default=0),
        )
    }
    states = AllocationRequest.State
    counts = {
        row["pk"]: row
        for row in AllocationRequest.objects.filter(project__lab__institution__in=institutions)
        .order_by()
        .values(pk=F("project__lab__institution"))
        .annotate(
            asked=Count("id", filter=~Q(state=states.DRAFT)),
            approved=Count("id", filter=Q(state=states.APPROVED)),
            rejected=Count("id", filter=Q(state=states.REJECTED)),
        )
    }
    nothing = {"granted": 0, "used": 0, "asked": 0, "approved": 0, "rejected": 0}
    return {
        pk: History(
            granted=(sums.get(pk) or nothing)["granted"],
            used=-(sums.get(pk) or nothing)["used"],
            requests=(counts.get(pk) or nothing)["asked"],
            approved=(counts.get(pk) or nothing)["approved"],
            rejected=(counts.get(pk) or nothing)["rejected"],
        )
        for pk in institutions
    }


# ── What happened to a request? ──────────────────────────────────────────────

Tone = Literal["ok", "wait", "warn", "bad", "off"]


@dataclass(frozen=True)
class StoryLine:
    """One event of a request. `gpu_seconds` where it names an amount; `words` as somebody wrote them."""

    at: datetime
    who: str
    what: str
    tone: Tone
    gpu_seconds: int | None = None
    words: str = ""


EVENTS: dict[str, tuple[Promise, Tone]] = {
    "allocation request drafted": (gettext_lazy("drafted"), "off"),
    "allocation request changed": (gettext_lazy("changed"), "off"),
    "allocation request submitted": (gettext_lazy("sent to the centre"), "wait"),
    "allocation request withdrawn": (gettext_lazy("withdrawn"), "off"),
}
VERDICTS: dict[str, tuple[Promise, Tone]] = {
    Review.Verdict.APPROVED: (gettext_lazy("approved"), "ok"),
    Review.Verdict.RETURNED: (gettext_lazy("returned for changes"), "warn"),
    Review.Verdict.REJECTED: (gettext_lazy("rejected"), "bad"),
}


def story(request: AllocationRequest) -> list[StoryLine]:
    """From the first draft to the decision, the oldest first: two queries."""
    events = AuditEvent.objects.about(request).filter(action__in=EVENTS).select_related("actor")
    reviews = request.reviews.select_related("reviewer")
    lines = [
        StoryLine(
            event.at,
            str(event.actor or ""),
            str(EVENTS[event.action][0]),
            EVENTS[event.action][1],
            event.detail.get("gpu_seconds"),
        )
        for event in events
    ]
    lines += [
        StoryLine(
            review.at,
            str(review.reviewer),
            str(VERDICTS[review.verdict][0]),
            VERDICTS[review.verdict][1],
            review.gpu_seconds_awarded or None,
            review.comment,
        )
        for review in reviews
    ]
    return sorted(lines, key=lambda line: line.at)


# ── What did the programme use? ──────────────────────────────────────────────


@dataclass(frozen=True)
class Scope:
    """Whose projects a reader may sum up. `funders` empty: all, with accounts that no project owns."""

    funders: tuple[Funder, ...] = ()

    @property
    def is_everything(self) -> bool:
        return not self.funders


def scope_of(user: User) -> Scope:
    """The centre reads everything; a funder what it pays for. Ask only with Permission.SEE_PROGRAMME."""
    if user.roles & {*CENTRE_ROLES}:
        return Scope()
    return Scope(tuple(m.funder for m in user.current_memberships if m.funder))


@dataclass(frozen=True)
class Cell:
    """GPU-seconds of one row in one month; `provisional` is the part that may still change."""

    gpu_seconds: int = 0
    provisional: int = 0

    def __add__(self, other: Cell) -> Cell:
        return Cell(self.gpu_seconds + other.gpu_seconds, self.provisional + other.provisional)


Kind = Literal["institution", "few", "unassigned"]


@dataclass(frozen=True)
class ProgrammeRow:
    """`name`: the institution's, or the account's that no project owns; empty for the merged row."""

    kind: Kind
    name: str
    by_month: dict[Month, Cell]
    merged_months: frozenset[Month] = frozenset()  # of an institution: its use is in the merged row

    @property
    def total(self) -> Cell:
        return sum(self.by_month.values(), Cell())


@dataclass(frozen=True)
class Programme:
    """GPU-hours by institution and month, with the award beside them."""

    period: Period
    rows: tuple[ProgrammeRow, ...]  # institutions by use, then the merged row, then unassigned accounts
    awarded: int  # granted to allocations that run at some time in the period
    used_before: int  # in the period of the same length before
    as_of: datetime
    complete_until: datetime | None  # up to here all of the scheduler's records were read, on every cluster

    @property
    def total(self) -> Cell:
        return sum((row.total for row in self.rows), Cell())

    @property
    def by_month(self) -> dict[Month, Cell]:
        return {
            month: sum((row.by_month.get(month, Cell()) for row in self.rows), Cell())
            for month in self.period.months
        }

    @property
    def largest(self) -> int:
        """What a full bar means, where rows are ranked with bars."""
        return max((row.total.gpu_seconds for row in self.rows), default=1)

    @property
    def share(self) -> Decimal | None:
        """Percent of the award."""
        return _percent(self.total.gpu_seconds, self.awarded) if self.awarded else None

    @property
    def change(self) -> Decimal | None:
        """Percent against the period before; None where nothing was used then."""
        if not self.used_before:
            return None
        return _percent(self.total.gpu_seconds - self.used_before, self.used_before)


def programme(scope: Scope, period: Period, *, as_of: datetime) -> Programme:
    """Four queries. Where the scope is a funder's, cells of fewer than three people are merged into one row."""
    return Programme(
        period=period,
        rows=tuple(_programme_rows(scope, period)),
        awarded=_awarded(scope, period),
        used_before=_days(scope, period.before).aggregate(sum=Sum("gpu_seconds", default=0))["sum"],
        as_of=as_of,
        complete_until=_complete_until(scope),
    )


def _days(scope: Scope, period: Period) -> QuerySet[UsageDay]:
    days = UsageDay.objects.filter(day__range=(period.start, period.end))
    return days if scope.is_everything else days.filter(project__funder__in=scope.funders)


def _programme_rows(scope: Scope, period: Period) -> list[ProgrammeRow]:
    cells: dict[tuple[Kind, str], dict[Month, Cell]] = defaultdict(dict)
    merged: dict[Month, Cell] = defaultdict(Cell)
    hidden: dict[str, set[Month]] = defaultdict(set)
    for row in _cells(_days(scope, period)):
        month, cell = month_of(row["month"]), Cell(row["sum"], row["provisional"])
        institution = row["institution"]
        if institution is None:
            cells["unassigned", row["unowned"]][month] = cell
        elif scope.is_everything or min(row["people"], row["posix_users"]) >= FEW:
            cells["institution", institution][month] = cell
        else:
            merged[month] += cell
            hidden[institution].add(month)
    rows = [
        ProgrammeRow(kind, name, by_month, frozenset(hidden[name]) if kind == "institution" else frozenset())
        for (kind, name), by_month in cells.items()
    ]
    if merged:
        rows.append(ProgrammeRow("few", "", dict(merged)))
    order = {"institution": 0, "few": 1, "unassigned": 2}
    return sorted(rows, key=lambda row: (order[row.kind], -row.total.gpu_seconds, row.name))


def _cells(days: QuerySet[UsageDay]) -> Iterable[Mapping[str, Any]]:
    """By institution (or unowned account) and month. `people` and `posix_users` can each count somebody twice, never miss one."""
    who = Case(
        When(person=None, then=Concat(Value("u"), "user", output_field=CharField())),
        default=Concat(Value("p"), Cast("person", CharField()), output_field=CharField()),
    )
    return (
        days.values(
            institution=F("project__lab__institution__name"),
            unowned=Case(When(project=None, then=F("account")), default=Value("")),
            month=TruncMonth("day"),
        )
        .order_by()
        .annotate(
            sum=Sum("gpu_seconds"),
            provisional=Sum("provisional_gpu_seconds"),
            people=Count(who, distinct=True),
            posix_users=Count("user", distinct=True),
        )
    )


def _awarded(scope: Scope, period: Period) -> int:
    entries = LedgerEntry.objects.filter(
        usage_record=None, allocation__start__lte=period.end, allocation__end__gte=period.start
    )
    if not scope.is_everything:
        entries = entries.filter(allocation__project__funder__in=scope.funders)
    total: int = entries.aggregate(sum=Sum("gpu_seconds", default=0))["sum"]
    return total


def _complete_until(scope: Scope) -> datetime | None:
    watermarks = Collection.objects.all()
    if not scope.is_everything:
        watermarks = watermarks.filter(cluster__allocations__project__funder__in=scope.funders)
    until: datetime | None = watermarks.aggregate(until=Min("complete_until"))["until"]
    return until


# ── The facts, row by row, for scripts ───────────────────────────────────────

Grouping = Literal["day", "account", "institution"]
GROUPS: dict[Grouping, tuple[str, ...]] = {
    "day": ("cluster__name", "account", "day"),
    "account": ("cluster__name", "account"),
    "institution": ("project__lab__institution__name", "project__lab__institution__account"),
}


@dataclass(frozen=True)
class UsageRow:
    """GPU-seconds of one group; None where the grouping sums over it. No institution: no project owns the account."""

    cluster: str | None
    account: str | None
    day: date | None
    institution: str | None
    institution_account: str | None
    project: str | None
    gpu_seconds: int
    provisional_gpu_seconds: int


def usage(by: Grouping, *, first: date | None = None, last: date | None = None) -> Iterator[UsageRow]:
    """Streams; both days are included."""
    days = UsageDay.objects.all()
    if first:
        days = days.filter(day__gte=first)
    if last:
        days = days.filter(day__lte=last)
    groups = GROUPS[by]
    rows = days.values(*groups).order_by(*(F(name).asc(nulls_last=True) for name in groups))
    summed = rows.annotate(
        sum=Sum("gpu_seconds"),
        provisional=Sum("provisional_gpu_seconds"),
        owner=Max("project__lab__institution__name"),
        owner_account=Max("project__lab__institution__account"),
        owned_by=Max("project__slug"),
    )
    for row in summed.iterator():
        yield UsageRow(
            cluster=row.get("cluster__name"),
            account=row.get("account"),
            day=row.get("day"),
            institution=row["owner"],
            institution_account=row["owner_account"],
            project=row["owned_by"] if by != "institution" else None,
            gpu_seconds=row["sum"],
            provisional_gpu_seconds=row["provisional"],
        )
