"""Counts what the engine would do, in the place of scripts/preview_report.py while that is not there."""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--stack", required=True)
parser.add_argument("--markdown", action="store_true")
parser.add_argument("file", type=Path)
asked = parser.parse_args()

events = [json.loads(line) for line in asked.file.read_text().splitlines()]
found = [event["resourcePreEvent"]["metadata"] for event in events if "resourcePreEvent" in event]
counts = Counter(metadata["op"] for metadata in found if metadata["op"] not in {"same", "read", "refresh"})
sys.stdout.write(f"## {asked.stack}\n\n")
sys.stdout.write("".join(f"- {op}: {number}\n" for op, number in sorted(counts.items())) or "No changes.\n")
