# shellcheck shell=sh
# Read by bin/timesync and bin/test: the virtual environment of this checkout.
#
# `prepare run` or `prepare test` makes $venv fit; it sets $venv. A stamp in it holds what it was made from, so that
# a second call starts no program but sha256sum, and needs no network.

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
venv="$root/.venv"

say() {
    printf 'timesync: %s\n' "$*" >&2
}

die() {
    say "$*"
    exit 1
}

# What an environment is made from: the project's description, this file, this place (a moved checkout needs another
# one), and the interpreter where the user chose one.
fingerprint() {
    sha256sum "$root/pyproject.toml" "$root/bin/environment.sh"
    printf '%s\n' "${PYTHON:-}"
}

# 0 when the environment fits the need $1. One for the tests does for running as well.
is_ready() {
    [ -x "$venv/bin/python" ] || return 1
    wanted=$(fingerprint)
    for kind in test "$1"; do
        file="$venv/timesync-$kind.stamp"
        if [ -r "$file" ] && [ "$(cat "$file")" = "$wanted" ]; then
            return 0
        fi
    done
    return 1
}

prepare() {
    is_ready "$1" || (
        # One at a time; whoever waited finds the work done.
        exec 9<"$root/bin/environment.sh"
        flock 9
        is_ready "$1" || make_ready "$1"
    ) || exit
}

make_ready() {
    python=${PYTHON:-python3}
    command -v "$python" >/dev/null || die "there is no program $python; install Python 3.11 or newer" \
        "(Debian: apt-get install python3), or name one: PYTHON=/path/to/python3 $0"
    found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || die "$python does not run"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$python is Python $found, and timesync needs 3.11 or newer; name another: PYTHON=/path/to/python3 $0"

    if ! is_usable; then
        need_venv
        say "first use: making a virtual environment in $venv with Python $found"
        "$python" -m venv --clear "$venv" || die "the virtual environment could not be made (see above)"
    fi
    case $1 in
    run)
        extras=
        say "installing timesync and what it needs into $venv: about 20 MB to download, half a minute;" \
            "the next use needs no network"
        ;;
    test)
        extras='[test,diag]'
        say "installing timesync and what its tests need into $venv: 110 to 140 MB to download, a minute;" \
            "the next use needs no network"
        ;;
    esac
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        --editable "$root$extras" || die "pip could not install (see above); is there a network?"
    # Its own list of needs has a documentation generator, a plotter and others, 400 MB of them, of which it imports none.
    [ "$1" != test ] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --root-user-action=ignore --no-deps 'allantools>=2024.6' || die "pip could not install allantools (see above)"
    # Last, so that what was interrupted is done again.
    fingerprint >"$venv/timesync-$1.stamp"
}

# An environment that is whole, made at this place and with this Python, can be brought up to date.
is_usable() {
    [ -x "$venv/bin/pip" ] &&
        "$venv/bin/python" -c 'import sys, pip; sys.exit(sys.prefix != sys.argv[1] or sys.argv[2] not in
            ("", "%d.%d" % sys.version_info[:2]))' "$venv" "${PYTHON:+$found}" 2>/dev/null &&
        head -n 1 "$venv/bin/pip" | grep -qF "$venv/bin/python"
}

# Debian's Python makes no virtual environment before a package is installed.
need_venv() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null && return
    package=python$found-venv
    case $(command -v "$python") in
    /usr/bin/python3 | /bin/python3) package=python3-venv ;;
    esac
    command -v apt-get >/dev/null || die "$python has no venv module; install it as this system does"
    [ "$(id -u)" -eq 0 ] || die "the Debian package $package is missing: run \`sudo apt-get install $package\` first"
    say "the Debian package $package is missing: installing it by apt-get"
    apt_install "$package" || die "apt-get could not install $package (see above); is there a network?"
}

# Silent unless it fails.
apt_install() {
    install="apt-get install -y -qq --no-install-recommends $1"
    output=$(
        exec 2>&1
        DEBIAN_FRONTEND=noninteractive
        export DEBIAN_FRONTEND
        # A fresh machine has no lists of packages yet, or old ones.
        $install >/dev/null 2>&1 || { apt-get update -qq; $install; }
    ) || {
        printf '%s\n' "$output" >&2
        return 1
    }
}
