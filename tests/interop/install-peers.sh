#!/bin/sh
# Unpacks other people's time programs from Debian's packages and PyPI into a cache, for the interop tests.
#
# They are not installed: chrony and ntpsec exclude each other as packages, and installing would start services that
# steer this machine's clock or open its receivers. Needs root for apt-get; a second call finds everything there and
# needs no network.
set -eu
. "$(dirname -- "$0")/debian.sh"

cache="${TIMESYNC_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/timesync/peers}"
version=4 # goes up when the list of packages changes
stamp="$cache/version-$version"
signing="$cache/linuxptp-signing-1" # a newer ptp4l with what it needs; the number goes up when that changes
mosquitto="$cache/mosquitto-1" # the MQTT broker and its tools; the number goes up when that changes
roughly="$cache/roughly-0.3.0" # a Roughtime server from PyPI, in an environment of its own
fetch_roughly() {
    echo "tests/interop: fetching roughly from PyPI into $roughly"
    rm -rf "$roughly.new"
    # It asks for a newer Python than it uses: 3.11 runs it.
    if ! { python3 -m venv "$roughly.new" &&
        "$roughly.new/bin/python" -m pip install --quiet --disable-pip-version-check --ignore-requires-python \
            "roughly[cli]==0.3.0"; } >"$cache/roughly.log" 2>&1; then
        cat "$cache/roughly.log" >&2
        echo "tests/interop: roughly could not be fetched (see above)" >&2
        exit 1
    fi
    rm -rf "$roughly"
    mv "$roughly.new" "$roughly"
}
if [ -e "$stamp" ] && [ -d "$signing" ] && [ -d "$mosquitto" ]; then
    [ -d "$roughly" ] || fetch_roughly
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "tests/interop: chrony, ntpsec, gpsd, linuxptp, tshark and mosquitto are not all in $cache, and only root can fetch them by apt-get" >&2
    exit 1
fi

fetch_all() {
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
}

# The ptp4l of Debian 12 cannot sign messages; Debian 14's can. It wants a newer C library than this machine has, so
# all that it depends on comes along, and a script starts it with its own loader.
fetch_signing() {
    echo "tests/interop: fetching Debian 14's linuxptp and its libraries by apt-get into $signing (14 MB with the list" \
        "of packages; nothing is installed)"
    work="$cache/signing.$$"
    rm -rf "$work"
    mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/root"
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [signed-by=$keyring] $(debian_mirror) forky main" >"$work/sources.list"
    : >"$work/status" # nothing counts as installed
    if ! { apart update && apart install --no-install-recommends --download-only linuxptp; } >"$work/apt.log" 2>&1; then
        cat "$work/apt.log" >&2
        echo "tests/interop: apt-get could not download it (see above)" >&2
        exit 1
    fi
    for package in "$work"/archives/*.deb; do
        dpkg -x "$package" "$work/root"
    done
    loader="$(find "$work/root/usr" -name 'ld-linux*.so.*' | head -n 1)"
    libraries="$(dirname "$(find "$work/root/usr" -name libc.so.6 | head -n 1)")"
    printf '#!/bin/sh\nhere="$(dirname "$0")"\nexec "$here%s" --library-path "$here%s" "$here/root/usr/sbin/ptp4l" "$@"\n' \
        "${loader#"$work"}" "${libraries#"$work"}" >"$work/ptp4l"
    chmod +x "$work/ptp4l"
    "$work/ptp4l" -v >"$work/apt.log" 2>&1 || {
        cat "$work/apt.log" >&2
        echo "tests/interop: Debian 14's ptp4l does not run here (see above)" >&2
        exit 1
    }
    rm -rf "$work/archives" "$work/lists" "$work"/*.bin "$signing"
    mv "$work" "$signing"
}
# apt-get with a world of its own: the machine's packages, lists and preferences do not count.
apart() {
    apt-get -y -qq -o APT::Sandbox::User=root -o Acquire::Languages=none -o Dir::Etc::sourcelist="$work/sources.list" \
        -o Dir::Etc::sourceparts=- -o Dir::Etc::preferences=- -o Dir::Etc::preferencesparts=- \
        -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" -o Dir::Cache="$work" \
        -o Dir::Cache::archives="$work/archives" "$@"
}

fetch_mosquitto() {
    echo "tests/interop: fetching mosquitto by apt-get into $mosquitto (1 MB; nothing is installed)"
    rm -rf "$mosquitto.new"
    mkdir -p "$mosquitto.new/archives/partial"
    download_mosquitto() {
        apt-get install -y -qq --no-install-recommends --download-only --reinstall -o APT::Sandbox::User=root \
            -o Dir::Cache::archives="$mosquitto.new/archives" mosquitto mosquitto-clients >"$cache/mosquitto.log" 2>&1
    }
    if ! download_mosquitto; then
        apt-get update -qq >"$cache/mosquitto.log" 2>&1 || true
        if ! download_mosquitto; then
            cat "$cache/mosquitto.log" >&2
            echo "tests/interop: apt-get could not download it (see above)" >&2
            exit 1
        fi
    fi
    for package in "$mosquitto.new"/archives/*.deb; do
        dpkg -x "$package" "$mosquitto.new/root"
    done
    rm -rf "$mosquitto.new/archives" "$mosquitto"
    mv "$mosquitto.new" "$mosquitto"
}

if [ ! -e "$stamp" ]; then
    fetch_all
fi
if [ ! -d "$signing" ]; then
    fetch_signing
fi
if [ ! -d "$mosquitto" ]; then
    fetch_mosquitto
fi
if [ ! -d "$roughly" ]; then
    fetch_roughly
fi
