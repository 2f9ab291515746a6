#!/bin/sh
# Makes a minimal chroot of Debian 12 with Python, systemd and udev, for `bin/test deb`, in a cache.
#
# Needs root and debootstrap. A second call finds it there and needs no network.
set -eu
. "$(dirname -- "$0")/../interop/debian.sh"

cache="${TIMESYNC_DEB:-${XDG_CACHE_HOME:-$HOME/.cache}/timesync/deb}"
version=2 # goes up when what is in the chroot changes
[ -e "$cache/bookworm-version-$version" ] && [ -d "$cache/bookworm" ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "tests/deb: there is no $cache/bookworm, and only root can make it" >&2
    exit 1
fi
work="$cache/bookworm.$$"
# When debootstrap is interrupted, it may leave /proc and /sys mounted there.
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$cache"
proxy="$(apt-config dump --format '%v%n' Acquire::http::Proxy)"
echo "tests/deb: making a chroot of Debian 12 by debootstrap in $cache (80 MB to download, 300 MB kept, a minute)"
if ! ${proxy:+env http_proxy="$proxy"} debootstrap --variant=minbase --include=python3,systemd,procps,udev bookworm "$work" \
    "$(debian_mirror)" >"$cache/bookworm.log" 2>&1; then
    cat "$cache/bookworm.log" >&2
    echo "tests/deb: debootstrap could not make it (see above)" >&2
    exit 1
fi
rm -rf "$work"/var/cache/apt/* "$work"/var/lib/apt/lists/* "$work"/usr/share/doc/* "$work"/usr/share/locale
rm -rf "${cache:?}/bookworm" && mv "$work" "$cache/bookworm"
: >"$cache/bookworm-version-$version"
trap - EXIT
