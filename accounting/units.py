"""GPU-seconds, hours and rounding: pure. Integers inside, hours only at the edge."""

from decimal import ROUND_HALF_EVEN, Decimal

SECONDS_PER_HOUR = 3600
MAX_GPU_SECONDS = 10**9 * SECONDS_PER_HOUR  # a thousand million GPU-hours: beyond any machine, within 63 bits


def hours(gpu_seconds: int) -> Decimal:
    """GPU-hours with two decimals, half even. Totals are rounded from the sum of seconds, never from rounded parts."""
    return (Decimal(gpu_seconds) / SECONDS_PER_HOUR).quantize(Decimal("0.01"), ROUND_HALF_EVEN)


def from_hours(gpu_hours: Decimal) -> int:
    """GPU-seconds of an amount typed in hours, rounded half even to the second."""
    return int((gpu_hours * SECONDS_PER_HOUR).quantize(Decimal(1), ROUND_HALF_EVEN))


def charged(gpu_seconds: int, factor: Decimal) -> int:
    """What `gpu_seconds` cost at `factor`: rounded once, half even."""
    return int((gpu_seconds * factor).quantize(Decimal(1), ROUND_HALF_EVEN))


def worst_case(gpus: int, time_limit_minutes: int, factor: Decimal, *, tasks: int = 1) -> int:
    """What a job can cost at most: GPUs × time limit × factor, in GPU-seconds; of an array, × tasks that can still run.

    Rounded task by task, as each is charged for itself.
    """
    return tasks * charged(gpus * time_limit_minutes * 60, factor)


def percent(part: int, whole: int) -> Decimal:
    """`part` of `whole` in percent, one decimal; 0 of nothing."""
    return (Decimal(100 * part) / whole).quantize(Decimal("0.1"), ROUND_HALF_EVEN) if whole else Decimal(0)
