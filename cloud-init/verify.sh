#!/bin/sh
# The last word of cloud-init: an installation that does not do what it should ends as an error, not as "done".
set -eu

fail() {
    echo "verify: $1" >&2
    exit 1
}

systemctl start release-agent.service || fail "release-agent.service: must start; see journalctl -u release-agent"
for unit in nginx.service nftables.service release-agent.service unattended-upgrades.service; do
    systemctl is-active --quiet "$unit" || fail "$unit: must be active, is $(systemctl is-active "$unit" || true)"
done
nginx -t -q || fail "nginx: its configuration must be valid"
/opt/uv/bin/uv --version >/dev/null || fail "/opt/uv/bin/uv: must run"
status=$(curl --silent --output /dev/null --max-time 5 --write-out '%{http_code}' http://127.0.0.1/) || true
[ "$status" = 421 ] || fail "http://127.0.0.1/: a name that is not ours must be answered with 421, got $status"
# 7: refused at once. 28, a time-out, would mean that the packet filter lets it out.
code=0
setpriv --reuid django --regid django --clear-groups \
    curl --silent --output /dev/null --max-time 5 http://169.254.169.254/metadata/v1/id || code=$?
[ "$code" = 7 ] || fail "169.254.169.254: user django must be refused (curl: 7), got $code"
echo "verify: this Droplet is ready for its first release"
