# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Tables, and what else is printed."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from common import SEED, STRIDE, say
from peers import Peer


def format_value(value, unit):
    if unit == "reads/s":
        return f"{value:,.0f}"
    return f"{value:.3f}" if unit == "s" else f"{value:,.0f}" if unit == "MiB/s" else f"{value:.1f}"


def print_group(group):
    print(f"\n### {group.title}\n")
    rounds = len(group.peers[0].values)
    print(
        "| | unit | "
        + " | ".join(str(index + 1) for index in range(rounds))
        + " | median | spread | peak memory |"
    )
    print("|---|---|" + "---:|" * (rounds + 3))
    for peer in group.peers:
        values = " | ".join(format_value(value, peer.unit) for value in peer.values)
        median = peer.median()
        spread = (max(peer.values) - min(peer.values)) / median * 100
        peak = f"{max(peer.peaks) / 1024:.1f} MiB" if peer.peaks else ""
        print(
            f"| {peer.name} | {peer.unit} | {values} | {format_value(median, peer.unit)} | {spread:.0f} % | {peak} |"
        )
    for note in [*group.notes, *(peer.note() for peer in group.peers)]:
        if note:
            print(f"\n{note}")


def print_ratios(groups):
    print("\n### Ratios (median of the pairs of one round; higher is better for imago-glib)\n")
    print("| | against | ratio | lowest | highest | target | |")
    print("|---|---|---:|---:|---:|---:|---|")
    for group in groups:
        for ratio in group.ratios:
            rival, median, low, high = ratio.compute()
            reached = median > ratio.target if ratio.strict else median >= ratio.target
            sign = ">" if ratio.strict else ">="
            print(
                f"| {ratio.text} | {rival.name} | {median:.2f} | {low:.2f} | {high:.2f} | {sign} {ratio.target:g} | "
                f"{'reached' if reached else 'MISSED'} |"
            )


def print_machine(folder, programs, options):
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    filesystem = subprocess.run(
        ["stat", "-f", "-c", "%T", str(folder)], stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    load = Path("/proc/loadavg").read_text().split()[0]
    qemu = subprocess.run(
        ["qemu-img", "--version"], stdout=subprocess.PIPE, text=True
    ).stdout.splitlines()[0]
    print(
        f"processor: {model.group(1) if model else 'unknown'} x {os.cpu_count()}; kernel {os.uname().release}; "
        f"images on {filesystem}; load at the start {load}"
    )
    print(
        f"{qemu}; rounds {options.rounds}{'; quick' if options.quick else ''}"
        f"{'; single-threaded programs by processor time' if options.processor_time else ''}; seed {SEED}; stride {STRIDE}"
    )


def count_instructions(command, count):
    """Instructions of user space that one request costs: callgrind at two counts, the difference divided."""
    totals = []
    for requests in (count, 3 * count):
        words = [re.sub(r"^--count=.*", f"--count={requests}", word) for word in command[3:]]
        words = [re.sub(r"^--warm-up=.*", "--warm-up=100", word) for word in words]
        run = subprocess.run(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=True,
        )
        totals.append(int(re.search(r"Collected : (\d+)", run.stderr).group(1)))
    return (totals[1] - totals[0]) / (2 * count)


def print_instructions(groups):
    if shutil.which("valgrind") is None:
        say("skipping the instructions: no valgrind")
        return
    print("\n### Instructions of user space per request (callgrind)\n")
    print("| | | instructions |\n|---|---|---:|")
    for group in groups:
        for peer in group.peers:
            if type(peer) is Peer and peer.command[0] == "taskset":
                count = 50 if "zlib" in group.title or "MiB" in group.title else 2000
                print(
                    f"| {group.title} | {peer.name} | {count_instructions(peer.command, count):,.0f} |",
                    flush=True,
                )


def write_json(path, groups):
    result = []
    for group in groups:
        peers = [
            {"name": peer.name, "unit": peer.unit, "values": peer.values, "peak-kib": peer.peaks}
            for peer in group.peers
        ]
        ratios = [
            dict(
                zip(("against", "median", "lowest", "highest"), (values[0].name, *values[1:])),
                name=ratio.text,
                target=ratio.target,
            )
            for ratio in group.ratios
            for values in [ratio.compute()]
        ]
        result.append({"title": group.title, "peers": peers, "ratios": ratios})
    Path(path).write_text(json.dumps(result, indent=2) + "\n")
