"""A result as a page and as a plot."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

import pygal
from pygal.style import Style

from operations.benchmark.pgbench import CLIENTS, MIB_PER_SCALE, Run
from operations.benchmark.result import Result
from operations.benchmark.verdict import (
    CLIENT_IS_THE_LIMIT,
    TUTORIAL,
    TUTORIAL_RATIOS,
    client_is_the_limit,
    of,
    ratio,
    statements,
)

# pygal's finder of maps is of a kind that Python 3.12 took away; before, it warns at each later import. No maps here.
sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)]

QUESTION = "What does a connection pool do for throughput?"
LINK = (
    "[DigitalOcean's pool tutorial](https://www.digitalocean.com/community/tutorials/"
    "managed-databases-connection-pools-and-postgresql-benchmarking-using-pgbench)"
)
WAYS = ("direct", "pool")
STEPS = (0.5, 1.0, 5.0, 10.0, 100.0, 1000.0)  # of the plot's axis
LABELS = 8


def page(result: Result) -> str:
    """Return it in Markdown."""
    return "\n\n".join(
        [f"# {QUESTION}\n{_about(result)}", *_set_up(result), _statements(result), _ratios(result), _runs(result),
         "![throughput through the pool, direct = 1](pool.svg)", _how()]
    ) + "\n"  # fmt: skip


def _about(result: Result) -> str:
    return (
        f"Cluster {result.plan} and client {result.client} in {result.region}, PostgreSQL "
        f"{result.settings['server_version'].split()[0]}, {result.date}, {result.took_s / 60:.0f} min"
    )


def _set_up(result: Result) -> Iterator[str]:
    settings = ", ".join(f"{name} {value}" for name, value in result.settings.items() if name != "server_version")
    data = result.scale * MIB_PER_SCALE / 1024
    lengths = f"TPC-B for {result.seconds} s" + (", the others half as long" if _others(result) else "")
    yield (
        f"The experiment of {LINK}: pgbench on a Droplet of its own asks a cluster of its own, by the private endpoint "
        f"with verified TLS, directly (25060) and through a transaction pool of {result.pool_size} (25061). "
        f"Rounds: {result.rounds}, {lengths}. "
        f"Scale {result.scale} ({data:.1f} GiB). The server: {settings}."
    )
    if result.scale < result.wanted_scale:
        yield f"**Scale {result.scale}, not {result.wanted_scale}:** it is the largest that there is room for."
    if result.scale < max(CLIENTS):
        yield (
            f"**A scale below {max(CLIENTS)}** has fewer branches than there are clients: in TPC-B they wait for each "
            "other's rows, whatever the way."
        )
    yield from result.notes
    if limited := sorted({_name(run) for run in result.runs if client_is_the_limit(_rounds(result.runs, run))}):
        yield (
            f"**The client is the limit** ({CLIENT_IS_THE_LIMIT:.0%} of its cores or more) in: {', '.join(limited)}. "
            "There the server could do more, and the figures are the client's."
        )


def _others(result: Result) -> bool:
    """Tell whether more was measured than the tutorial does."""
    return any(run.script != "TPC-B" for run in result.runs)


def _statements(result: Result) -> str:
    rows = [(one.text, f"**{one.verdict}**", one.why) for one in statements(result.runs)]
    return table(("the tutorial says", "", "why"), rows)


def _ratios(result: Result) -> str:
    rows = []
    for script, clients in _cases(result.runs):
        found = ratio(result.runs, script, clients)
        tutorial = TUTORIAL_RATIOS.get(clients, "") if script == "TPC-B" else ""
        rounds = ", ".join(f"{value:.2f}" for value in found.values) if found else ""
        rows.append((script, clients, found or "", rounds, tutorial))
    return table(("", "clients", "pool / direct", "by round", "tutorial"), rows)


def _runs(result: Result) -> str:
    rows = []
    for script, clients in _cases(result.runs):
        for way in WAYS:
            runs = of(result.runs, script, clients, way)
            if not runs:
                continue
            tutorial = TUTORIAL.get((way, clients), "") if script == "TPC-B" else ""
            tps = [run.tps for run in runs]
            busy = median(run.client_busy for run in runs)
            rows.append(
                (script, clients, way, _range([run.measured for run in runs]), _range([run.refused for run in runs]),
                 f"{median(tps):.0f} ({min(tps):.0f} to {max(tps):.0f})", tutorial,
                 _milliseconds(run.latency_ms for run in runs), _milliseconds(run.p99_ms for run in runs),
                 f"{busy:.0%}")
            )  # fmt: skip
    head = (
        *("", "clients", "way", "connected", "refused", "transactions a second", "tutorial", "latency", "p99"),
        "client busy",
    )
    return table(head, rows)


def _how() -> str:
    return (
        "Figures are medians of the rounds, with their range; ± is the rounds' range, at least 5 %, by which another "
        "run may differ. Refusals are counted by opening as many connections as there are clients, before each run. "
        "pgbench then runs with those that were accepted, as the tutorial's of 2019 went on with them (today's would "
        "end). How to read this: docs/benchmarks.md."
    )


def plot(result: Result) -> str:
    """Return the ratios as SVG: what is measured here with its spread, beside the tutorial's."""
    pale, dark = "#dddddd", "#333333"
    style = Style(
        background="white", plot_background="white", font_family="sans-serif", colors=("#6ba4ff", "#bbbbbb"),
        guide_stroke_color=pale, major_guide_stroke_color=pale, foreground=dark, foreground_subtle=dark, opacity="1",
        label_font_size=12, major_label_font_size=12, value_font_size=13,
    )  # fmt: skip
    cases = _cases(result.runs)
    chart = pygal.Bar(
        style=style, js=[], width=800, height=420, explicit_size=True, no_prefix=True, legend_at_bottom=True,
        title="Throughput through the pool, direct = 1; by test and number of clients",
        print_values=True, print_values_position="bottom",
        value_formatter=lambda value: f"{value:.2f}", x_labels=[f"{script}, {clients}" for script, clients in cases],
        x_label_rotation=0, truncate_label=-1, y_labels=_axis(result.runs, cases),
    )  # fmt: skip
    here = []
    for script, clients in cases:
        found = ratio(result.runs, script, clients)
        interval = {"low": max(0.0, found.low), "high": found.high} if found else None
        here.append({"value": found.middle, "ci": interval} if found else None)
    chart.add("measured", here)
    chart.add("tutorial", [TUTORIAL_RATIOS.get(clients) if script == "TPC-B" else None for script, clients in cases])
    # Without the data for its script, which is not loaded.
    return re.sub(r"<script.*?</script>", "", chart.render(is_unicode=True), flags=re.DOTALL)


def _axis(runs: Sequence[Run], cases: Iterable[tuple[str, int]]) -> list[float]:
    """Return the values on the axis: from 0 to above the highest spread, with 1 among them."""
    found = [one.high for script, clients in cases if (one := ratio(runs, script, clients))]
    highest = max([*found, *TUTORIAL_RATIOS.values()])
    step = next(step for step in STEPS if highest / step < LABELS)
    return [step * number for number in range(int(highest / step) + 2)]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows as a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _cases(runs: Iterable[Run]) -> list[tuple[str, int]]:
    return list(dict.fromkeys((run.script, run.clients) for run in runs))


def _rounds(runs: Iterable[Run], run: Run) -> list[Run]:
    return of(runs, run.script, run.clients, run.way)


def _name(run: Run) -> str:
    return f"{run.script} {run.clients} {run.way}"


def _milliseconds(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{median(known):.0f} ms" if known else ""


def _range(values: list[int]) -> str:
    return str(values[0]) if len({*values}) == 1 else f"{min(values)} to {max(values)}"
