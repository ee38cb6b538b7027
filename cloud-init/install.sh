#!/bin/sh
# Makes a web server of the files and packages that cloud-init has put here. Running it again changes nothing.
set -eu

systemd-sysusers /etc/sysusers.d/web.conf
systemd-tmpfiles --create /etc/tmpfiles.d/web.conf

# Once for all, because each call makes systemd read every unit again. Gunicorn starts with the first release.
systemctl enable nftables.service nginx.service gunicorn.socket gunicorn.service release-agent.timer

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

# The certificate that an earlier Droplet has kept. Before the agent starts: once that reports a healthy release, the
# address moves, and visitors expect HTTPS here. What goes wrong is tried again by the timer, once certbot is there.
edge=/etc/systemd/system/obtain-certificate.timer # only there on an edge that has a certificate of its own
if [ -e $edge ]; then systemctl start obtain-certificate.service || true; fi

# A Droplet made from a snapshot has the memory of another one, and would have nothing to report.
rm -f /var/lib/release-agent/state.json
systemctl start release-agent.timer

# Beside the first release: first what HTTPS waits for, last what nobody waits for.
later() {
    DEBIAN_FRONTEND=noninteractive nice apt-get install --yes --quiet --option DPkg::Lock::Timeout=300 "$@"
}
if [ -e $edge ]; then
    later certbot # its own timer renews
    systemctl enable --now obtain-certificate.timer
fi
later logrotate systemd-timesyncd unattended-upgrades
