"""The bytes of the user data, and what the programs that will read its parts say about them."""

import ast
import dataclasses
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from components.user_data import LIMIT, SOURCES, UserDataError, UserDataSpec, render_user_data
from sandbox import certificates, images, inherited

HERE = Path(__file__).parent
SPEC = UserDataSpec(
    region="nyc3",
    domain="polls.example",
    edge="direct",
    vpc_cidr="10.10.0.0/20",
    workers=2,
    threads=4,
    packages=("libmagic1t64",),
    acme_email="ops@polls.example",
    releases_bucket="polls-releases",
    state_bucket="polls-state",
    assets_bucket="polls-assets",
    agent_access_key="DO00EXAMPLE",
    agent_secret_key="secret of the agent",
)
EDGES = ("direct", "behind_load_balancer")


def _rendered(edge: str) -> str:
    return render_user_data(dataclasses.replace(SPEC, edge=edge))  # type: ignore[arg-type]


@pytest.mark.parametrize("edge", EDGES)
def test_bytes_are_the_golden_ones(edge: str) -> None:
    """Other bytes replace every Droplet; so a change is seen here first. UPDATE_GOLDEN=1 accepts it."""
    golden = HERE / f"{edge}.yaml"
    text = _rendered(edge)
    if os.environ.get("UPDATE_GOLDEN") == "1":
        golden.write_text(text, encoding="utf-8")
    assert golden.read_text(encoding="utf-8") == text


def test_only_the_agents_key_is_secret() -> None:
    """The one secret of the user data is in one file, which only root reads."""
    config = yaml.safe_load(_rendered("direct"))
    holders = [file for file in config["write_files"] if SPEC.agent_secret_key in file["content"]]
    assert [(file["path"], file["permissions"]) for file in holders] == [("/etc/release-agent/config.json", "0600")]
    assert SPEC.agent_secret_key not in repr(SPEC)


def test_a_load_balancers_droplet_has_no_certificate_of_its_own() -> None:
    """Behind a load balancer nothing listens on 443 and certbot is not installed."""
    text = _rendered("behind_load_balancer")
    paths = {file["path"] for file in yaml.safe_load(text)["write_files"]}
    assert not {path for path in paths if "certificate" in path or "tls" in path}
    assert "listen 443" not in text


def test_programs_are_whole_without_their_docstrings() -> None:
    """What words left behind is Python: the same program, but for docstrings of functions and classes."""
    files = {Path(file["path"]).name: file["content"] for file in yaml.safe_load(_rendered("direct"))["write_files"]}
    programs = {name: content for name, content in files.items() if name.endswith(".py")}
    assert {"release-agent.py", "obtain-certificate.py", "run-gunicorn.py"} <= programs.keys()
    for name, content in programs.items():
        source = (SOURCES / name).read_text(encoding="utf-8")
        assert ast.dump(_bare(content)) == ast.dump(_bare(_filled(source))), name
        assert '\n    """' not in content, name
        assert content.startswith(source[: source.index("\n")]), name


def _filled(text: str) -> str:
    values = {"DOMAIN": SPEC.domain, "ACME_EMAIL": SPEC.acme_email, "WORKERS": SPEC.workers, "THREADS": SPEC.threads}
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def _bare(text: str) -> ast.Module:
    """A program's tree, in which each docstring below the module's is `pass`, and what has more loses it."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            node.body[:1] = [] if node.body[1:] else [ast.Pass()]
    return tree


def test_too_much_is_refused_with_numbers() -> None:
    """The limit is DigitalOcean's; the message names what to shorten."""
    spec = dataclasses.replace(SPEC, packages=tuple(f"package-{number:05}" for number in range(1000)))
    with pytest.raises(UserDataError, match=rf"user_data: must be at most {LIMIT} bytes .* shorten web.packages"):
        render_user_data(spec)


def test_values_that_would_be_other_configuration_are_refused_together() -> None:
    """No value can break out of the file that it is written into."""
    spec = dataclasses.replace(
        SPEC,
        domain="polls.example; return 200",
        vpc_cidr="everywhere",
        workers=0,
        packages=("--allow-downgrades",),
        acme_email='"',
    )
    with pytest.raises(UserDataError) as caught:
        render_user_data(spec)
    rules = [line.partition(":")[0] for line in str(caught.value).splitlines()]
    assert rules == ["domain", "network.cidr", "web.workers", "web.packages", "web.acmeEmail"]


@pytest.fixture(scope="module", params=EDGES)
def machine(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Root of a Debian 13 with an edge's packages and files, not booted."""
    if os.geteuid() != 0:
        pytest.fail("needs root for machines and overlay mounts; deselect it with -m 'not full'")
    image = images.ensure("base", print)
    # Beside the image and not in pytest's folder, which may be on a file system that can't be an upper layer.
    disk = Path(tempfile.mkdtemp(prefix=".golden-", dir=image.parent))
    root, upper, work = (disk / name for name in ("root", "upper", "work"))
    for folder in (root, upper, work):
        folder.mkdir()
    layers = f"lowerdir={image},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, root], check=True)
    try:
        _install(root, _rendered(request.param))
        yield root
    finally:
        subprocess.run(["umount", root], check=True)
        shutil.rmtree(disk)


def _install(root: Path, text: str) -> None:
    """Do what cloud-init would do: files, then packages; no service starts."""
    config = yaml.safe_load(text)
    (root / "user-data").write_text(text, encoding="utf-8")
    for file in config["write_files"]:
        path = root / file["path"].lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file["content"], encoding="utf-8")
        path.chmod(int(file.get("permissions", "0644"), 8))
    for certificate in certificates.host_extras():
        shutil.copy(certificate, root / "usr/local/share/ca-certificates")
    (root / "etc/apt/apt.conf.d/90sandbox").write_text("\n".join(inherited.apt_options()) + "\n")
    _in(root, "update-ca-certificates")
    _in(root, "apt-get", "update", "--quiet")
    _in(root, "apt-get", "install", "--yes", "--quiet", *config["packages"])


def _in(root: Path, *command: str, options: tuple[str, ...] = ("--resolv-conf=copy-host",)) -> str:
    """Run a command in the machine's file system; return what it said."""
    machine = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--pipe", "--directory", str(root)]
    machine += ["--setenv=DEBIAN_FRONTEND=noninteractive", "--link-journal=no", *options]
    # To a file, because nspawn itself has things to say that are not the command's.
    done = subprocess.run([*machine, "--", "sh", "-c", '"$@" >/output 2>&1', "sh", *command], check=False)
    output = (root / "output").read_text()
    assert done.returncode == 0, f"{' '.join(command)}:\n{output}"
    return output


@pytest.mark.full
def test_its_readers_accept_every_file(machine: Path) -> None:
    """Each program that reads one of the files on a Droplet finds it valid, and none has a warning."""
    direct = (machine / "etc/nginx/edge-tls.conf").exists()
    timers = ["release-agent.timer", *(["obtain-certificate.timer"] if direct else [])]
    units = ["gunicorn.service", "gunicorn.socket", *timers, *(name.replace("timer", "service") for name in timers)]
    assert "Valid schema" in _in(machine, "cloud-init", "schema", "--config-file", "/user-data")
    assert _in(machine, "nginx", "-t", "-q") == ""
    _in(machine, "systemd-sysusers", "/etc/sysusers.d/web.conf")
    assert _in(machine, "nft", "--check", "--file", "/etc/nftables.conf", options=("--private-network",)) == ""
    assert _in(machine, "systemd-tmpfiles", "--create", "/etc/tmpfiles.d/web.conf") == ""
    assert _in(machine, "systemd-analyze", "verify", "--man=no", *units) == ""
    sshd = _in(machine, "sh", "-c", "mkdir /run/sshd && ssh-keygen -A && sshd -T")
    assert {"passwordauthentication no", "kbdinteractiveauthentication no"} <= set(sshd.splitlines())
    for script in ("install", "verify"):
        assert _in(machine, "sh", "-n", f"/usr/local/lib/web/{script}") == ""


@pytest.mark.full
@pytest.mark.parametrize(("unit", "tenths"), [("gunicorn.service", 15), ("release-agent.service", 30)])
def test_services_are_exposed_as_little_as_their_work_allows(machine: Path, unit: str, tenths: int) -> None:
    """By systemd's own measure, of 10: at most 1.5 what serves strangers, at most 3 what must be root to switch."""
    report = _in(machine, "systemd-analyze", "security", "--offline=yes", f"--threshold={tenths}", unit)
    found = re.search(rf"Overall exposure level for {unit}: (\d+\.\d) OK", report)
    assert found, report
    assert float(found[1]) * 10 <= tenths


@pytest.mark.full
def test_nginx_accepts_the_tls_server_with_a_certificate(machine: Path) -> None:
    """What obtain-certificate turns on is valid too, with Debian's own Nginx and OpenSSL."""
    if not (machine / "etc/nginx/edge-tls.conf").exists():
        assert "443" not in _in(machine, "nginx", "-T", "-q")
        return
    live = "/etc/letsencrypt/live/site"
    _in(machine, "mkdir", "-p", live)
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=polls.example"]
    _in(machine, *request, "-keyout", f"{live}/privkey.pem", "-out", f"{live}/fullchain.pem")
    _in(machine, "ln", "-s", "../edge-tls.conf", "/etc/nginx/edge/tls.conf")
    assert _in(machine, "nginx", "-t", "-q") == ""
