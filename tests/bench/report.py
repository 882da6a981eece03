"""The table, the JSON document and the chart."""
import json
import math
import os
import platform
import statistics
from xml.sax.saxutils import escape

COLOURS = ("#999999", "#1f77b4", "#2ca02c", "#d62728", "#9467bd", "#8c564b")
UNITS = {"ns": ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1, "ns"))}


def shown(value, unit):
    for size, name in UNITS.get(unit, ()):
        if value >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:.4g} {unit}"


def machine(scratch):
    """What a reader has to know to make sense of the figures."""
    def first(path, key):
        try:
            with open(path, encoding="utf-8", errors="replace") as f:
                return next((line.split(":", 1)[1].strip() for line in f if line.startswith(key)), "")
        except OSError:
            return ""

    with open("/proc/mounts", encoding="utf-8") as f:
        mounts = [line.split()[:3] for line in f]
    disk = max((m for m in mounts if (scratch.dir + "/").startswith(m[1].rstrip("/") + "/")), key=lambda m: len(m[1]))
    return {"kernel": platform.release(), "cpu": first("/proc/cpuinfo", "model name"), "cpus": os.cpu_count(),
            "memory": first("/proc/meminfo", "MemTotal"), "filesystem": disk[2], "load": list(os.getloadavg())}


def cell(line, engine):
    """Median of the ratios and their quartiles; a plain figure where there is no limit."""
    if engine in line.failed:
        return "failed"
    summary = line.summary(engine)
    if summary is not None:
        return f"{summary['median']:.2f} ({summary['low']:.2f}-{summary['high']:.2f})"
    samples = line.samples.get(engine)
    return shown(statistics.median(samples), line.unit) if samples else "-"


def verdict(line):
    verdicts = line.verdicts()
    failed = [what for what, kept in verdicts if not kept]
    if not verdicts:
        return ""
    return "miss: " + ", ".join(failed) if failed else "pass"


def table(lines, titles):
    """Ratios to the limit, whose own figure is the first column."""
    width = max(len(line.name) for line in lines) + 1
    others = [t for t in titles if t != "plain"]
    out = [f"{'':{width}} {'limit':>10} " + " ".join(f"{t:>20}" for t in others) + f" {'best':>7}  verdict"]
    part = None
    for line in lines:
        if line.part != part:
            part = line.part
            out.append(f"--- {part}")
        plain = line.samples.get("plain")
        mine = line.summary("cowrun")
        out.append(f"{line.name:{width}} {shown(statistics.median(plain), line.unit) if plain else '-':>10} " +
                   " ".join(f"{cell(line, t):>20}" for t in others) +
                   f" {format(mine['best'], '.2f') if mine else '-':>7}  {verdict(line)}")
    return "\n".join(out)


def document(lines, about, settings):
    results = []
    for line in lines:
        results.append({"part": line.part, "name": line.name, "unit": line.unit, "samples": line.samples, "failed": line.failed,
                        "ratios": {engine: line.summary(engine) for engine in line.samples if engine != "plain"},
                        "verdicts": [{"what": what, "kept": kept} for what, kept in line.verdicts()]})
    return {"benchmark": "cowrun", "machine": about, "settings": settings, "results": results}


def bar(x, y, width, colour, label):
    return (f'<rect x="{x:.1f}" y="{y}" width="{max(width, 1):.1f}" height="7" fill="{colour}"/>'
            f'<text x="{x + max(width, 1) + 4:.1f}" y="{y + 7}" font-size="8">{label}</text>')


def chart(lines, titles, about):
    """Ratios on a logarithmic axis, which begins at the limit (1); the thin line on a row is the target."""
    rows = [line for line in lines if line.summary("cowrun") is not None]
    engines = [t for t in titles if t != "plain"]
    left, width, height = 400, 480, 8 * len(engines) + 8
    most = max((s["median"] for line in rows for e in engines if (s := line.summary(e))), default=10)
    decades = max(1, math.ceil(math.log10(max(most, 10))))
    floor = 0.3  # a ratio of a half is drawn, too

    def at(ratio):
        return left + width * (math.log10(max(ratio, floor)) - math.log10(floor)) / (decades - math.log10(floor))

    top = 60
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 80}" height="{top + height * len(rows) + 20}" '
           'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>',
           f'<text x="8" y="16" font-size="13">times of the plain delegate (logarithmic); {escape(about["cpu"])}, '
           f'{about["cpus"]} CPUs, Linux {escape(about["kernel"])}, {about["filesystem"]}</text>']
    for i, engine in enumerate(engines):
        x = left + i * 120
        out.append(f'<rect x="{x}" y="26" width="10" height="10" fill="{COLOURS[(i + 1) % len(COLOURS)]}"/>'
                   f'<text x="{x + 14}" y="35">{escape(engine)}</text>')
    for tick in [1] + [10 ** d for d in range(1, decades + 1)]:
        out.append(f'<line x1="{at(tick):.1f}" y1="{top - 8}" x2="{at(tick):.1f}" y2="{top + height * len(rows)}" stroke="#ccc"/>'
                   f'<text x="{at(tick) - 4:.1f}" y="{top - 10}" font-size="9">{tick}</text>')
    for number, line in enumerate(rows):
        y = top + number * height
        out.append(f'<text x="{left - 8}" y="{y + height // 2 + 3}" text-anchor="end">{escape(line.name)}</text>')
        for i, engine in enumerate(engines):
            summary = line.summary(engine)
            if summary is not None:
                x = at(min(1, summary["median"]))
                out.append(bar(x, y + 8 * i, at(max(1, summary["median"])) - x, COLOURS[(i + 1) % len(COLOURS)],
                               f'{summary["median"]:.2f}'))
        if line.target is not None and line.target.ratio:
            x = at(line.target.ratio)
            out.append(f'<line x1="{x:.1f}" y1="{y - 2}" x2="{x:.1f}" y2="{y + height - 6}" stroke="black"/>')
    return "\n".join(out + ["</svg>"])


def write(directory, lines, titles, about, settings):
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "bench.json"), "w", encoding="utf-8") as f:
        json.dump(document(lines, about, settings), f, indent=1)
    with open(os.path.join(directory, "bench.svg"), "w", encoding="utf-8") as f:
        f.write(chart(lines, titles, about) + "\n")
    with open(os.path.join(directory, "bench.txt"), "w", encoding="utf-8") as f:
        f.write(table(lines, titles) + "\n")
