"""The figures as a table on the terminal, as JSON, and as an SVG chart."""

import html
import json
import math


def number(value):
    if value is None:
        return "-"
    if value >= 1e6:
        return f"{value / 1e6:.2f} M"
    if value >= 1e4:
        return f"{value / 1e3:.1f} k"
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def verdict(row):
    return {True: "yes", False: "NO", None: ""}[row.reached]


def table(rows):
    head = ["work", "unit", "kernel TCP", "Millrace", "AF_UNIX", "result", "target", "reached"]
    lines = [head] + [[row.title, row.unit, number(row.plain), number(row.millrace), number(row.unix), row.result_text,
                       row.target_text, verdict(row)] for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = []
    for index, line in enumerate(lines):
        cells = [cell.rjust(width) if 2 <= column <= 5 else cell.ljust(width)
                 for column, (cell, width) in enumerate(zip(line, widths))]
        text.append("  ".join(cells).rstrip())
        if index == 0:
            text.append("  ".join("-" * width for width in widths))
    return "\n".join(text)


def markdown(rows, about):
    """The same for a page: what README.md shows."""
    def cell(row):
        return row.target_text if row.reached is not False else f"**{row.target_text}: not reached**"

    def value(what, unit):
        return "" if what is None else f"{number(what)} {unit}"

    lines = [f"{about['machine']}; medians of {about['rounds']} rounds; {about['date']}.", "",
             "| work | kernel TCP | Millrace | AF_UNIX | result | target |", "|---|---|---|---|---|---|"]
    for row in rows:
        values = [value(each, row.unit) for each in (row.plain, row.millrace, row.unix)]
        lines.append(f"| {' | '.join([row.title, *values, row.result_text, cell(row)])} |")
    return "\n".join(lines) + "\n"


def write_json(path, rows, samples, about):
    content = dict(about, rows=[vars(row) for row in rows], samples=samples)
    path.write_text(json.dumps(content, indent=2) + "\n")


STYLE = """
text { font: 13px sans-serif; fill: #24292f; }
.small { font-size: 11px; fill: #57606a; }
.head { font-size: 17px; font-weight: bold; }
.bar { fill: #2f81c4; } .short { fill: #c4682f; }
.one { stroke: #8c959f; } .grid { stroke: #eaeef2; }
.target { stroke: #24292f; stroke-width: 2; }
"""


def write_chart(path, rows, about):
    """Bars of how much faster than kernel TCP, on a logarithmic axis, with a mark at each target."""
    bars = [row for row in rows if row.result_text.endswith(" x") and row.result]
    others = [row for row in rows if row.result_text and row not in bars]
    left, width, step, top = 330, 520, 30, 84
    highest = max([100.0] + [max(row.result, row.target) for row in bars])

    def place(value):
        low, high = math.log10(0.5), math.log10(highest * 1.3)
        return left + width * (math.log10(max(value, 0.5)) - low) / (high - low)

    bottom = top + step * len(bars)
    height = bottom + 60 + 20 * len(others)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="980" height="{height}" viewBox="0 0 980 {height}">',
             f"<style>{STYLE}</style>", '<rect width="100%" height="100%" fill="white"/>',
             '<text class="head" x="20" y="32">Millrace against kernel TCP on one host</text>',
             f'<text class="small" x="20" y="52">{html.escape(about["machine"])}; medians of {about["rounds"]} '
             'alternating rounds; logarithmic axis; the black mark is the target</text>']
    for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500):
        if tick <= highest * 1.3:
            style = "one" if tick == 1 else "grid"
            parts.append(f'<line class="{style}" x1="{place(tick):.1f}" x2="{place(tick):.1f}" y1="{top - 8}" '
                         f'y2="{bottom}"/>')
            parts.append(f'<text class="small" x="{place(tick):.1f}" y="{top - 12}" text-anchor="middle">{tick} x</text>')
    for index, row in enumerate(bars):
        y, end = top + step * index, place(row.result)
        start = place(0.5)
        parts += [f'<text x="{left - 10}" y="{y + 18}" text-anchor="end">{html.escape(row.title)}</text>',
                  f'<rect class="{"bar" if row.reached else "short"}" x="{start:.1f}" y="{y + 5}" '
                  f'width="{max(end - start, 1):.1f}" height="18" rx="2"/>',
                  f'<line class="target" x1="{place(row.target):.1f}" x2="{place(row.target):.1f}" y1="{y + 2}" '
                  f'y2="{y + 26}"/>',
                  f'<text x="{max(end, place(row.target)) + 8:.1f}" y="{y + 18}">{row.result_text}</text>']
    for index, row in enumerate(others):
        text = f"{row.title}: {row.result_text} ({row.target_text}: {verdict(row).lower()})"
        parts.append(f'<text x="20" y="{bottom + 34 + 20 * index}">{html.escape(text)}</text>')
    path.write_text("\n".join(parts + ["</svg>"]) + "\n")
