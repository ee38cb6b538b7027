"""What a request costs whom: programs by the kernel's account, Gunicorn's processes by their own."""

import json
import re
from collections import Counter
from pathlib import Path

from benchmarks.web.setups import SETTINGS, Setup

DROPLET = {"nginx": "Nginx: TLS, gzip", "gunicorn": "Gunicorn's processes", "others d": "the rest of the Droplet"}
CLUSTER = {"pgbouncer": "PgBouncer: TLS", "postgres": "PostgreSQL", "others c": "the rest of the cluster"}
SOURCE = Path(__file__).with_name("droplet_accounts.py")
REST = "Gunicorn: sockets, threads, HTTP"


def counting(setup: Setup) -> Setup:
    """Return the same set-up with accounts beside the app."""
    text = setup.appended.get(SETTINGS, "") + "\nfrom mysite import accounts\naccounts.install()\n"
    return Setup(
        name=setup.name,
        says=setup.says,
        appended={**setup.appended, SETTINGS: text},
        written={**setup.written, SETTINGS.replace("settings", "accounts"): SOURCE.read_text()},
        replaced=setup.replaced,
    )


def read(journal: str) -> dict[str, float]:
    """Return milliseconds a request, from the first to the last line of each process in a journal; the sum of all."""
    first: dict[int, Counter[str]] = {}
    last: dict[int, Counter[str]] = {}
    for line in re.findall(r"accounts (\{.*\})", journal):
        spent: Counter[str] = Counter(json.loads(line))
        pid = spent.pop("pid")
        first.setdefault(pid, spent)
        last[pid] = spent
    total: Counter[str] = Counter()
    for pid, spent in last.items():
        total.update(spent)
        total.subtract(first[pid])
    requests = total.pop("requests", 0)
    if not requests:
        raise ValueError("gunicorn.service: must tell its accounts more than once, did not; ask longer")
    return {name: 1000 * seconds / requests for name, seconds in total.items()}
