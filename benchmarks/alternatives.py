"""x."""

from benchmarks.setups import CONF, NGINX, PROXY, SETTINGS, UNIT, Setup


def conf(name, says, text, **kw):
    return Setup(name=name, says=says, appended={CONF: text}, **kw)


FREEZE = """
import gc
def post_fork(server, worker):
    gc.freeze()
"""
A = [
    conf("1x8", "", "workers, threads, worker_connections = 1, 8, 16\n"),
    conf("1x4", "", "workers, threads, worker_connections = 1, 4, 8\n"),
    conf("2x2", "", "workers, threads, worker_connections = 2, 2, 4\n"),
    conf("2x1", "", "workers, threads, worker_connections = 2, 1, 2\n"),
    conf("4x1", "", "workers, threads, worker_connections = 4, 1, 2\n"),
    conf("3x2", "", "workers, threads, worker_connections = 3, 2, 4\n"),
    conf("sync3", "", "worker_class, workers, threads = 'sync', 3, 1\n"),
    conf("freeze", "", FREEZE),
    conf("gc-threshold", "", FREEZE.replace("gc.freeze()", "gc.freeze(); gc.set_threshold(20000, 20, 20)")),
    conf("gc-off", "", FREEZE.replace("gc.freeze()", "gc.freeze(); gc.disable()")),
    conf("max-requests-10000", "", "max_requests, max_requests_jitter = 10000, 1000\n"),
    conf("switch-0.5ms", "", "import sys\ndef post_fork(server, worker):\n    sys.setswitchinterval(0.0005)\n"),
    conf("switch-50ms", "", "import sys\ndef post_fork(server, worker):\n    sys.setswitchinterval(0.05)\n"),
    Setup(
        name="keepalive",
        says="",
        replaced={
            NGINX: (
                (
                    "server unix:/run/gunicorn.sock fail_timeout=0;",
                    "server unix:/run/gunicorn.sock fail_timeout=0; keepalive 8; keepalive_timeout 1s;",
                ),
            ),
            PROXY: (("proxy_http_version 1.1;", 'proxy_http_version 1.1; proxy_set_header Connection "";'),),
        },
    ),
    Setup(name="no-gzip", says="", replaced={NGINX: (("gzip on;", "gzip off;"),)}),
    Setup(
        name="no-health-checks", says="", appended={SETTINGS: "\nDATABASES['default']['CONN_HEALTH_CHECKS'] = False\n"}
    ),
    Setup(
        name="not-confined",
        says="",
        replaced={UNIT: (("SystemCallFilter=@system-service\nSystemCallFilter=~@privileged @resources\n", ""),)},
    ),
    Setup(
        name="not-confined-at-all",
        says="",
        replaced={
            UNIT: (
                ("SystemCallFilter=@system-service\nSystemCallFilter=~@privileged @resources\n", ""),
                ("SystemCallArchitectures=native\n", ""),
                (
                    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\nRestrictNamespaces=yes\nRestrictRealtime=yes\nRestrictSUIDSGID=yes\n",
                    "",
                ),
                ("LockPersonality=yes\nMemoryDenyWriteExecute=yes\n", ""),
                ("ProtectKernelTunables=yes\nProtectKernelModules=yes\nProtectKernelLogs=yes\n", ""),
                ("ProtectClock=yes\n", ""),
                ("ProtectHostname=yes\n", ""),
            )
        },
    ),
]
