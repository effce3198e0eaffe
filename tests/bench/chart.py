#!/usr/bin/env python3
"""Draws how the time of a training step grows with the batch and with the width, of the engine and of other engines:

    python3 tests/bench/chart.py build

writes growth.svg beside this file. Options as for compare.py.
"""
import math
import pathlib
import sys
from xml.sax.saxutils import escape

import compare

OUT = pathlib.Path(__file__).resolve().parent / "growth.svg"


class Panel:
    """One plot: its networks along x. All share the y axis."""

    def __init__(self, title, axis, xs, network, left, width):
        self.title, self.axis, self.xs, self.left, self.width = title, axis, xs, left, width
        self.networks = [network.format(x) for x in xs]

    def x(self, value):
        low, high = math.log(self.xs[0]), math.log(self.xs[-1])
        return self.left + self.width * (math.log(value) - low) / (high - low)


BATCHES = [4**i for i in range(9)]
WIDTHS = [4**i for i in range(1, 6)]
PANELS = [
    Panel("8-64-1 by batch", "rows in a batch", BATCHES, "{}x8-64-1", 60, 370),
    Panel("8-H-1 by width, 64 rows", "width H", WIDTHS, "64x8-{}-1", 470, 210),
    Panel("8-H-H-1 by width, 64 rows", "width H", WIDTHS, "64x8-{0}-{0}-1", 720, 210),
]
TOP, HEIGHT, SIZE = 84, 330, (960, 480)

# How a line is drawn: what its name starts with, colour, dashes, width. Variants of one engine have one colour. The
# colours are readable on white and on black.
LINES = [
    (compare.REPLAYED, "#2f81f7", "", 3),
    (compare.FRESH, "#2f81f7", "2 4", 2.5),
    (compare.BY_HAND, "#8b8b8b", "7 3", 1.8),
    ("NumPy", "#d98200", "", 1.8),
    ("PyTorch", "#e5484d", "", 1.8),
    ("torch.compile", "#e5484d", "5 4", 1.8),
    ("JAX", "#2da44e", "", 1.8),
]

STYLE = """text { font: 12px system-ui, sans-serif; fill: #6e7781; }
.title { font-weight: 600; }
.small { font-size: 10px; }
.grid { stroke: #8b949e; stroke-opacity: 0.3; }
@media (prefers-color-scheme: dark) { text { fill: #9da7b3; } }"""


def decades(results):
    times = [us for known in results.us.values() for us in known.values()]
    return math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))


def time_text(exponent):
    value, unit = (10**(exponent - 3), "ms") if exponent >= 3 else (10.0**exponent, "µs")
    return f"{value:g} {unit}"


def text(x, y, content, anchor="middle", kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(content)}</text>'


def legend(engines):
    parts, x, y = [], 60, 20
    for name, (_, colour, dashes, width) in engines.items():
        if x + 60 + 6.4 * len(name) > SIZE[0]:
            x, y = 60, y + 20
        parts.append(f'<line x1="{x}" y1="{y}" x2="{x + 30}" y2="{y}" stroke="{colour}" stroke-width="{width}" '
                     f'stroke-dasharray="{dashes}"/>')
        parts.append(text(x + 36, y + 4, name, "start"))
        x += 60 + 6.4 * len(name)
    return parts


def grid(panel, low, high, y):
    parts = [text(panel.left + panel.width / 2, TOP - 10, panel.title, kind="title"),
             text(panel.left + panel.width / 2, TOP + HEIGHT + 36, panel.axis)]
    for exponent in range(low, high + 1):
        at = y(10.0**exponent)
        parts.append(f'<line class="grid" x1="{panel.left}" y1="{at:.1f}" x2="{panel.left + panel.width}" y2="{at:.1f}"/>')
        if panel is PANELS[0]:
            parts.append(text(panel.left - 8, at + 4, time_text(exponent), "end", "small"))
    for value in panel.xs:
        at = panel.x(value)
        parts.append(f'<line class="grid" x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{TOP + HEIGHT}"/>')
        parts.append(text(at, TOP + HEIGHT + 16, str(value), kind="small"))
    return parts


def curve(panel, us, y, colour, dashes, width):
    points = [(panel.x(value), y(us[network])) for value, network in zip(panel.xs, panel.networks) if network in us]
    if len(points) < 2:
        return []
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    dots = [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{width}" fill="{colour}"/>' for a, b in points]
    return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}" '
            f'stroke-dasharray="{dashes}"/>'] + dots


def draw(results):
    low, high = decades(results)
    engines = {}
    for line in LINES:
        engines.update({name: line for name, us in results.us.items() if us and name.startswith(line[0])})

    def y(us):
        return TOP + HEIGHT * (high - math.log10(us)) / (high - low)

    caption = (f"Time of a training step, float32, one thread. {compare.processor()}, "
               f"FMA peak {results.machine['gflops']:.0f} GFLOP/s a core.")
    parts = legend(engines)
    for panel in PANELS:
        parts += grid(panel, low, high, y)
        for name, (_, colour, dashes, width) in reversed(engines.items()):
            parts += curve(panel, results.us[name], y, colour, dashes, width)
    parts.append(text(60, SIZE[1] - 8, caption, "start", "small"))
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE[0]} {SIZE[1]}" role="img">',
                      f"<title>{escape(caption)}</title>", f"<style>{STYLE}</style>"] + parts + ["</svg>", ""])


def main():
    arguments = compare.common_arguments(__doc__).parse_args()
    networks = list(dict.fromkeys(network for panel in PANELS for network in panel.networks))
    results = compare.measure(arguments.build, networks, compare.directories(arguments), arguments.rounds)
    OUT.write_text(draw(results))
    return compare.complain(results)


if __name__ == "__main__":
    sys.exit(main())
