#!/bin/sh
# Unpacks prometheus and promtool from Debian's package into a cache, for `bin/test promtool`. Nothing is installed.
set -eu

cache="${TIMESYNC_PROMTOOL:-${XDG_CACHE_HOME:-$HOME/.cache}/timesync/promtool}"
[ ! -x "$cache/promtool" ] || [ ! -x "$cache/prometheus" ] || exit 0
work="$cache.$$"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"
echo "tests/interop: fetching Prometheus by apt-get into $cache (19 MB to download)"
download() {
    (cd "$work" && apt-get download -q -o APT::Sandbox::User=root prometheus) >"$work/apt.log" 2>&1
}
# A fresh machine has no lists of packages yet, or old ones.
if ! download && ! { apt-get update -qq >"$work/apt.log" 2>&1 && download; }; then
    cat "$work/apt.log" >&2
    echo "tests/interop: apt-get could not download it (see above)" >&2
    exit 1
fi
dpkg-deb --fsys-tarfile "$work"/prometheus_*.deb | tar -x -C "$work" ./usr/bin/promtool ./usr/bin/prometheus
mkdir -p "$cache"
mv "$work/usr/bin/promtool" "$work/usr/bin/prometheus" "$cache"
