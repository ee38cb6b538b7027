#!/bin/sh
# Makes a web server of the files and packages that cloud-init has put here. Running it again changes nothing.
set -eu

systemd-sysusers /etc/sysusers.d/web.conf
systemd-tmpfiles --create /etc/tmpfiles.d/web.conf

certificate= # only there on an edge that has a certificate of its own
if [ -e /etc/systemd/system/certificate.service ]; then certificate="certificate.service certificate.timer"; fi

# Once for all, because each call makes systemd read every unit again. Gunicorn starts with the first release.
systemctl enable nftables.service nginx.service gunicorn.socket gunicorn.service release-agent.service $certificate

# First the walls.
systemctl reload-or-restart nftables.service
systemctl try-reload-or-restart ssh.service
systemctl restart systemd-journald.service
systemctl try-restart do-agent.service 2>/dev/null || true # only on DigitalOcean, and maybe later

# uv from PyPI by hash, with the pip that Debian ships for virtual environments: python3-pip would bring a compiler.
requirements=/usr/local/lib/web/uv-requirements.txt
if ! grep -q "^uv==$(/opt/uv/bin/uv --version 2>/dev/null | cut -d ' ' -f 2) " $requirements; then
    wheel=$(echo /usr/share/python-wheels/pip-*.whl)
    python3 "$wheel/pip" install --quiet --no-cache-dir --disable-pip-version-check --root-user-action ignore \
        --require-hashes --upgrade --target /opt/uv --requirement $requirements
fi

nginx -t -q
systemctl reload-or-restart nginx.service

# Both fetch the agent's package, and say so to the runner when they can't.
# shellcheck disable=SC2086 # two units
systemctl start --no-block $certificate release-agent.service

# Beside the first release: first what HTTPS waits for, last what nobody waits for.
later() {
    DEBIAN_FRONTEND=noninteractive nice apt-get install --yes --quiet --option DPkg::Lock::Timeout=300 "$@"
}
if [ -n "$certificate" ]; then
    # certificate.service waits for it, and renews; certbot's own timer would have nothing to do.
    systemctl mask --quiet certbot.timer
    later certbot
fi
later logrotate systemd-timesyncd unattended-upgrades
