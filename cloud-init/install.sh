#!/bin/sh
# Makes a web server of the files and packages that cloud-init has put here. Running it again changes nothing.
set -eu

systemd-sysusers /etc/sysusers.d/web.conf
systemd-tmpfiles --create /etc/tmpfiles.d/web.conf

# uv from PyPI by hash, with the pip that Debian ships for virtual environments: python3-pip would bring a compiler.
uv() {
    requirements=/usr/local/lib/web/uv-requirements.txt
    if ! grep -q "^uv==$(/opt/uv/bin/uv --version 2>/dev/null | cut -d ' ' -f 2) " $requirements; then
        rm -rf /opt/new
        wheel=$(echo /usr/share/python-wheels/pip-*.whl)
        python3 "$wheel/pip" install --quiet --no-cache-dir --disable-pip-version-check --root-user-action ignore \
            --require-hashes --target /opt/new --requirement $requirements
        rm -rf /opt/uv
        mv /opt/new /opt/uv # as a whole: the agent waits for it
    fi
}
uv &
uv=$!

ln -sf /dev/null /etc/systemd/system/certbot.timer # certificate.service renews

# Once for all, because each call makes systemd read every unit again. Gunicorn starts with the first release.
certificate= # behind a load balancer this Droplet has none
[ ! -e /etc/systemd/system/certificate.service ] || certificate="certificate.service certificate.timer"
# shellcheck disable=SC2086 # several names
systemctl enable nftables.service gunicorn.socket gunicorn.service release-agent.service $certificate

# First the walls, then the release.
systemctl reload-or-restart nftables.service
systemctl try-reload-or-restart ssh.service
systemctl restart systemd-journald.service
systemctl try-restart do-agent.service 2>/dev/null || true # only on DigitalOcean, and maybe later
systemctl start --no-block release-agent.service

# Beside it: first what its build waits for, then its switch and HTTPS, then what nobody waits for.
wait "$uv"
export DEBIAN_FRONTEND=noninteractive
install="apt-get install --yes --quiet --option DPkg::Lock::Timeout=300 --option DPkg::Options::=--force-unsafe-io"
# shellcheck disable=SC2086
$install nginx ${certificate:+certbot}
nginx -t -q
systemctl reload-or-restart nginx.service
# shellcheck disable=SC2086
[ -z "$certificate" ] || systemctl start --no-block $certificate
nice $install logrotate systemd-timesyncd unattended-upgrades
