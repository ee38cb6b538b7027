#!/bin/sh
# Serves HTTPS with the certificate that certbot has obtained or renewed. Certbot runs it after each renewal.
set -eu
ln -sfn ../edge-tls.conf /etc/nginx/edge/tls.conf
nginx -t -q
systemctl reload nginx
