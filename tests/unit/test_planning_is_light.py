import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CLIENTS = {"boto3", "botocore", "cryptography", "dns", "httpx", "psycopg"}
SDK = {"pulumi_digitalocean", "pulumi_digitalocean.kubernetes_cluster"}


def test_planning_imports_no_client() -> None:
    """Every preview imports all this, the program its part and the plugin its own.

    Clients take up to 0.2 s, and so does what the stack does not use of DigitalOcean's SDK.
    """
    modules = [
        f"{folder}.{path.stem}"
        for folder in ("components", "config", "contract", "provider", "sizing")
        for path in sorted((ROOT / folder).glob("*.py"))
        # Only create and update import these, and who has a certificate of their own.
        if path.stem not in {"__init__", "__main__", "grants_sql", "spaces_client", "certificate_rules"}
    ]
    code = f"import sys, {', '.join(modules)}; print(*{CLIENTS | SDK!r} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
