#!/bin/sh
# Serves HTTPS with the certificate that is there. Certbot runs it after each renewal.
set -eu
ln -sfn ../edge-tls.conf /etc/nginx/edge/tls.conf
nginx -t -q
systemctl reload nginx
# A renewed one is kept for the next Droplet.
[ -z "${RENEWED_LINEAGE:-}" ] || systemctl enable --now obtain-certificate.timer
