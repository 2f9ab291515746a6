#!/bin/sh
# Unpacks other people's time programs from Debian's packages into a cache, for the interop tests.
#
# They are not installed: chrony and ntpsec exclude each other as packages, and installing would start services that
# steer this machine's clock or open its receivers. Needs root for apt-get; a second call finds everything there and
# needs no network.
set -eu

cache="${TIMESYNC_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/timesync/peers}"
version=4 # goes up when the list of packages changes
stamp="$cache/version-$version"
if [ -e "$stamp" ]; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "tests/interop: chrony, ntpsec, gpsd, linuxptp and tshark are not all in $cache, and only root can fetch them by apt-get" >&2
    exit 1
fi
echo "tests/interop: fetching chrony, ntpsec, adjtimex, gpsd, linuxptp and tshark by apt-get into $cache (3 MB, and 30 MB" \
    "for what tshark needs if this machine has none of it; nothing is installed)"
rm -rf "$cache"
mkdir -p "$cache/archives/partial" "$cache/root"

# Apart, because the packages exclude each other. What they depend on comes along where the machine lacks it.
download() {
    apt-get install -y -qq --no-install-recommends --download-only --reinstall \
        -o APT::Sandbox::User=root -o Dir::Cache::archives="$cache/archives" "$@" >"$cache/apt.log" 2>&1
}
download_all() {
    download chrony && download ntpsec ntpsec-ntpdate && download adjtimex && download gpsd &&
        download tshark wireshark-common && download linuxptp
}
if ! download_all; then
    # A fresh machine has no lists of packages yet, or old ones.
    apt-get update -qq >"$cache/apt.log" 2>&1 || true
    if ! download_all; then
        cat "$cache/apt.log" >&2
        echo "tests/interop: apt-get could not download them (see above)" >&2
        exit 1
    fi
fi
for package in "$cache"/archives/*.deb; do
    dpkg -x "$package" "$cache/root"
done
rm -rf "$cache/archives"
# ntpsec's Python modules look for their library beside themselves, or where it would be installed.
ln -s "$(find "$cache/root/usr/lib" -name libntpc.so)" "$cache/root/usr/lib/python3/dist-packages/ntp/libntpc.so"
: >"$stamp"
