#!/bin/sh
# Called by tests/deb/run in namespaces of its own: inside.sh CHROOT MOUNTPOINT PACKAGE
set -eu
lower=$1 root=$2 package=$3

mount -t tmpfs none "$root"
mkdir "$root/upper" "$root/work" "$root/machine"
machine=$root/machine
mount -t overlay -o "lowerdir=$lower,upperdir=$root/upper,workdir=$root/work" none "$machine" ||
    cp -a "$lower/." "$machine/"
mount -t proc none "$machine/proc"
mount -t tmpfs none "$machine/run"
mount -t tmpfs none "$machine/tmp"
ip link set lo up
cp "$package" "$machine/tmp/timesync.deb"

within() {
    chroot "$machine" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"
}
# In the background: the process that is started is the program itself.
background() {
    exec chroot "$machine" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"
}
fail() {
    echo "FAILED: $*" >&2
    exit 1
}
# Every file and its content, without what dpkg, its tools and the account programs note of their own work.
listing() {
    (cd "$machine" && find . -xdev \( -path ./var/lib/dpkg -o -path ./var/log -o -path ./var/lib/systemd -o -path ./tmp \) \
        -prune -o ! -name '*-' ! -name '.pwd.lock' -printf '%p %y %m %U:%G %l ' \( -type f -exec sh -c 'md5sum <"$1"' - {} \; -o -printf '\n' \)) | LC_ALL=C sort
}
same_as() {
    listing >"$root/after"
    diff "$root/$1" "$root/after" >"$root/differences" || { cat "$root/differences" >&2; fail "$2"; }
}
# What runs by the unit: its words after ExecStart=, as its user with its capabilities, except the one for the clock.
start() {
    unit=$1
    command=$(sed -n 's/^ExecStart=//p' "$machine$unit")
    grants=$(sed -n 's/^AmbientCapabilities=//p' "$machine$unit" | sed 's/CAP_SYS_TIME//; s/CAP_/+/g' | tr 'A-Z ' 'a-z,' | sed 's/^,//')
    # RuntimeDirectory and StateDirectory
    within install -d -o timesync -g timesync /run/timesync /var/lib/timesync
    # shellcheck disable=SC2086 # the command is several words
    background setpriv --reuid timesync --regid timesync --init-groups --inh-caps "$grants" --ambient-caps "$grants" \
        --bounding-set "-all,$grants" --no-new-privs $command >"$root/daemon.log" 2>&1 &
    daemon=$!
}
configuration() {
    # Its one server is beside it.
    sed -i 's/^steering:$/&\n  minimum_sources: 1/' "$machine/etc/timesync/timesync.yaml"
    cat >>"$machine/etc/timesync/timesync.yaml" <<END
clocks: {system: {discipline: false}, bench: {virtual: {offset: 10ms, frequency: 20ppm}}}
sources: [{ntp: "127.0.0.1:11123", poll: [125ms, 125ms], burst: false}]
serve: {ntp: {listen: ["127.0.0.1:123"], allow: [127.0.0.0/8]}}
END
}
# The daemon keeps a clock in software by a server beside it, serves it, and is asked for it.
serves() {
    within timesync check /etc/timesync/timesync.yaml
    background timesync testserver --listen 127.0.0.1:11123 >"$root/server.log" 2>&1 &
    server=$!
    start "$1"
    tries=0
    until within timesync status --require locked --max-error 20ms >"$root/status" 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 120 ] || { cat "$root/daemon.log" "$root/status" >&2; fail "not locked within two minutes"; }
        sleep 1
    done
    head -n 1 "$root/status"
    within timesync query 127.0.0.1 | head -n 2
    [ "$(sed -n 's/^Uid:\t\([0-9]*\).*/\1/p' "$machine/proc/$daemon/status")" = "$(within id -u timesync)" ] ||
        fail "the daemon does not run as its user"
    kill "$daemon" "$server"
    wait "$daemon" || fail "the daemon ended with $?"
    wait "$server" || fail "the server ended with $?"
    rm -rf "$machine/run/timesync"
}
verified() {
    within systemd-analyze verify "$1" >"$root/verify" 2>&1 || true
    ! grep timesync "$root/verify" || fail "systemd-analyze verify complains"
    within systemd-analyze security --offline=yes --no-pager --threshold=35 "$1" | tail -n 1
}

listing >"$root/before"
echo "== the package"
within dpkg -i /tmp/timesync.deb
within timesync --version
[ "$(within stat -c %U:%G:%a /etc/timesync/timesync.yaml)" = root:root:644 ] || fail "owner and mode of the configuration"
within id timesync
[ -L "$machine/etc/systemd/system/multi-user.target.wants/timesync.service" ] || fail "the service is not enabled"
verified /usr/lib/systemd/system/timesync.service
within bash -c '. /usr/share/bash-completion/completions/timesync && complete -p timesync'
if within timesync install; then fail "\`timesync install\` beside the package"; fi
configuration
serves /usr/lib/systemd/system/timesync.service
within find /usr/lib/timesync -name '*.pyc' -newer /usr/lib/timesync/pyvenv.cfg | grep -q . || fail "nothing was compiled"

echo "== installed again over it: what was changed is kept"
within dpkg -i --force-confold /tmp/timesync.deb
grep -q 'virtual:' "$machine/etc/timesync/timesync.yaml" || fail "the changed configuration is gone"

echo "== removed, the configuration stays"
cp -r "$machine/usr/lib/timesync" "$root/private"
within dpkg -r timesync
[ -e "$machine/etc/timesync/timesync.yaml" ] || fail "the configuration is gone"
[ ! -e "$machine/usr/lib/timesync" ] || fail "something is left in /usr/lib/timesync"

echo "== purged"
within dpkg -P timesync
same_as before "purging leaves something, or takes too much"
echo "nothing remains"

echo "== timesync install, from an environment in /opt"
mkdir -p "$machine/opt"
cp -r "$root/private" "$machine/opt/timesync"
find "$machine/opt/timesync" -name __pycache__ -prune -exec rm -rf {} +
sed -i 's:/usr/lib/timesync:/opt/timesync:' "$machine/opt/timesync/bin/timesync"
within env PYTHONDONTWRITEBYTECODE=1 /opt/timesync/bin/python3 -m compileall -q /opt/timesync/lib
listing >"$root/before"
within /opt/timesync/bin/timesync install --dry-run
same_as before "--dry-run does something"
within /opt/timesync/bin/timesync install --start
within id timesync
[ -L "$machine/etc/systemd/system/multi-user.target.wants/timesync.service" ] || fail "the service is not enabled"
verified /etc/systemd/system/timesync.service
listing >"$root/installed"
within timesync install >"$root/again"
! grep -E '^(new|replaced)' "$root/again" || fail "a second call writes"
same_as installed "a second call changes something"
configuration
serves /etc/systemd/system/timesync.service
within timesync uninstall
grep -q 'virtual:' "$machine/etc/timesync/timesync.yaml" || fail "the changed configuration is gone"
if within /opt/timesync/bin/timesync uninstall; then fail "uninstalling twice"; fi
within /opt/timesync/bin/timesync install >/dev/null
within timesync uninstall --purge
same_as before "uninstall --purge leaves something, or takes too much"
within /opt/timesync/bin/timesync install >/dev/null
within timesync uninstall >/dev/null
within /opt/timesync/bin/timesync uninstall --purge
same_as before "uninstall --purge after uninstall leaves something, or takes too much"
echo "nothing remains"
