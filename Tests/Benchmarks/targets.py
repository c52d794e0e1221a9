"""What the figures must reach, as ratios within one run, and the table's rows made from the medians."""

import dataclasses
import statistics

from measuring import MILLRACE, OFF, PLAIN, RAW, UNIX
from workloads import NO_IDLE, WITH_IDLE

RATIO, DIFFERENCE = "ratio of pairs", "difference of pairs"


@dataclasses.dataclass
class Row:
    key: str
    title: str
    unit: str
    plain: float
    millrace: float
    unix: float
    result: float
    result_text: str
    target: float
    target_text: str
    reached: bool


def faster(at_least):
    """The second variant's rate over the first one's (which is TCP's, or without idle lanes), or the first one's time over
    the second one's."""
    def judge(workload, values):
        first, second = [each for each in workload.variants if each != RAW][:2]
        if RATIO in values:
            result = values[RATIO]
        elif workload.lower_is_better:
            result = values[first] / values[second]
        else:
            result = values[second] / values[first]
        return result, f"{result:.2f} x", at_least, f"at least {at_least} x", result >= at_least
    return judge


def near_the_limit(workload, values):
    result = values[MILLRACE] / values[RAW]
    return result, f"{result:.1f} x the limit", 5, "at most 5 x", result <= 5


def at_most_more(most):
    def judge(workload, values):
        result = values[DIFFERENCE]
        return result, f"{result:+.3f} {workload.unit}", most, f"at most +{most}", result <= most
    return judge


def at_most(most):
    def judge(workload, values):
        result = values[MILLRACE]
        return result, f"{result:.2f} {workload.unit}", most, f"under {most}", result < most
    return judge


def grown_at_most(most):
    """What a lane adds to the same connection on the kernel path."""
    def judge(workload, values):
        result = values[MILLRACE] - values[PLAIN]
        return result, f"{result:.1f} {workload.unit}", most, f"at most {most}", result <= most
    return judge


NOT_JUDGED = (None, "", None, "", None)

TARGETS = {
    "sockperf": (near_the_limit, faster(50)),
    "pingpong": (),
    "oneway": (faster(8),),
    "iperf3": (faster(2),),
    "redis-1": (faster(8),),
    "redis-50": (faster(2.5),),
    "redis-50-16": (faster(1.2),),
    "memcached": (faster(2),),
    "nginx": (faster(2),),
    "connect": (faster(0.97),),
    "connect-off": (faster(0.99),),
    "idle-lanes": (faster(0.9),),
    "files": (faster(0.97),),
    "exec": (at_most_more(0.2),),
    "idle-cpu": (at_most(1.0),),
    "memory": (grown_at_most(32),),
    "memory-used": (grown_at_most(32),),
}


def medians_of(workload, samples):
    """The median of each variant, and for a sliced workload those over its pairs of neighbouring slices."""
    values = {variant: statistics.median(each) for variant, each in samples.items()}
    if workload.sliced and len(samples) == 2:
        pairs = list(zip(*samples.values()))
        values[RATIO] = statistics.median(second / first for first, second in pairs)
        values[DIFFERENCE] = statistics.median(second - first for first, second in pairs)
    return values


def rows(workloads, medians):
    """The rows of the table: one per target, and one for a workload that has none."""
    made = []
    for workload in workloads:
        values = medians.get(workload.key)
        if not values:
            continue
        columns = [values.get(PLAIN, values.get(NO_IDLE)), values.get(MILLRACE, values.get(WITH_IDLE, values.get(OFF))),
                   values.get(UNIX)]
        if RAW in values:
            made.append(Row("raw", "Shared cache line round trip, the limit", workload.unit, None, values[RAW], None,
                            *NOT_JUDGED))
        for result in [judge(workload, values) for judge in TARGETS.get(workload.key, ())] or [NOT_JUDGED]:
            made.append(Row(workload.key, workload.title, workload.unit, *columns, *result))
    return made
