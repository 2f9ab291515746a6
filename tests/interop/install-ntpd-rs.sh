#!/bin/sh
# Makes a chroot of each Debian release that has ntpd-rs, for `bin/test ntpd-rs`, in a cache.
#
# Needs root, debootstrap and a C compiler. A second call finds the chroots there and needs no network.
set -eu
here="$(dirname -- "$0")"
. "$here/debian.sh"

cache="${TIMESYNC_NTPD_RS:-${XDG_CACHE_HOME:-$HOME/.cache}/timesync/ntpd-rs}"
version=1 # goes up when what is in the chroots changes
releases="trixie forky"

# The certificates are those that its TLS library insists on having beside the test's own.
make_root() {
    work="$cache/$1.$$"
    # When debootstrap is interrupted, it may leave /proc and /sys mounted there.
    trap 'rm -rf --one-file-system "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    mkdir -p "$cache"
    proxy="$(apt-config dump --format '%v%n' Acquire::http::Proxy)"
    echo "tests/interop: making a chroot of Debian's $1 with ntpd-rs by debootstrap in $cache (50 MB to download, 110 MB" \
        "kept, a minute)"
    # debootstrap of Debian 12 has not heard of later releases; they are made like sid.
    if ! ${proxy:+env http_proxy="$proxy"} debootstrap --variant=minbase --include=ntpd-rs,ca-certificates "$1" "$work" \
        "$(debian_mirror)" /usr/share/debootstrap/scripts/sid >"$cache/$1.log" 2>&1; then
        cat "$cache/$1.log" >&2
        echo "tests/interop: debootstrap could not make it (see above)" >&2
        exit 1
    fi
    : >"$work/etc/hosts" # the tests mount theirs over it
    rm -rf "$work"/var/cache/apt/* "$work"/var/lib/apt/lists/* "$work"/usr/share/doc "$work"/usr/share/man "$work"/usr/share/locale
    rm -rf "${cache:?}/$1" && mv "$work" "$cache/$1"
    : >"$cache/$1-version-$version"
    trap - EXIT
}

for release in $releases; do
    [ -e "$cache/$release-version-$version" ] && [ -d "$cache/$release" ] && continue
    if [ "$(id -u)" -ne 0 ]; then
        echo "tests/interop: there is no $cache/$release, and only root can make it" >&2
        exit 1
    fi
    make_root "$release"
done
gcc -shared -fPIC -O2 -Wall -Wextra -Werror -o "$cache/kept_clock.so.$$" "$here/kept_clock.c"
mv "$cache/kept_clock.so.$$" "$cache/kept_clock.so"
