#!/bin/sh
# Called by tests/deb/run in a mount namespace of its own: booted.sh CHROOT MOUNTPOINT PACKAGE
#
# The chroot's own systemd is process 1 in a container of systemd-nspawn, and the service runs by its unit as it is: with
# its time-outs, its sandbox and its rights. These are rights over a user namespace, to which the clock of this machine
# does not belong: what would set it is refused.
set -eu
lower=$1 root=$2 package=$3
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)

mount -t tmpfs none "$root"
mkdir "$root/upper" "$root/work" "$root/machine"
machine=$root/machine
mount -t overlay -o "lowerdir=$lower,upperdir=$root/upper,workdir=$root/work" none "$machine" ||
    cp -a "$lower/." "$machine/"
cp "$package" "$machine/root/timesync.deb"
cp "$here/inside_booted.py" "$machine/root/look.py"

fail() {
    echo "FAILED: $*" >&2
    within journalctl -b -u timesync --no-pager -o short-monotonic >&2 || true
    exit 1
}
within() {
    nsenter -t "$leader" -m -p -n -u -i -U /usr/bin/env -i LC_ALL=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
# soon SECONDS WHAT COMMAND...: again and again until it succeeds.
soon() {
    tries=$(($1 * 4)) what=$2
    shift 2
    until "$@" >"$root/soon" 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { cat "$root/soon" >&2; fail "$what"; }
        sleep 0.25
    done
}
property() {
    within systemctl show timesync -P "$1"
}
is() {
    [ "$(property "$1")" = "$2" ]
}
# told: it has said what it does, in its status.
told() {
    [ -n "$(property StatusText)" ]
}
# logged WORDS [OPTION...]: in the service's log, with these options of journalctl.
logged() {
    words=$1
    shift
    within journalctl -b -u timesync --no-pager -o cat "$@" | grep -q "$words"
}
look() {
    within /usr/lib/timesync/bin/python3 /root/look.py "$@" || fail "look.py $*"
}
locked() {
    within timesync status --require locked --max-error 20ms
}
configuration() {
    cat >"$machine/etc/timesync/timesync.yaml" <<END_OF_FILE
profile: ntp-client
steering: {minimum_sources: 1}
clocks: {system: {discipline: false}, bench: {virtual: {offset: 10ms, frequency: 20ppm}}}
sources: [{ntp: "127.0.0.1:11123", poll: [125ms, 125ms], burst: false}]
ptp: {role: timeTransmitter, clock: bench, ports: [{interface: v0, transport: l2}, {interface: v1, transport: udp4}]}
serve:
  ntp: {listen: ["127.0.0.1:123"], allow: [127.0.0.0/8]}
  nts: {certificate: /etc/timesync/cert.pem, private_key: /etc/timesync/key.pem}
observe:
  ready: synchronized
  metrics: 127.0.0.1:9975
  web: 127.0.0.1:8080
  chronyc: 127.0.0.1:323
  measurements: {directory: /var/lib/timesync/measurements}
END_OF_FILE
}
# stopping: how long it takes, and that nothing had to be forced.
stopped() {
    began=$(date +%s)
    within systemctl stop timesync
    [ "$(($(date +%s) - began))" -le 5 ] || fail "it took $(($(date +%s) - began)) s to stop"
    is Result success || fail "it did not stop by itself: $(property Result)"
    [ ! -e "$machine/run/timesync" ] || fail "/run/timesync is left"
}

# -- the machine
keep=
[ -d /run/systemd/system ] || keep=--keep-unit # where no systemd could give it a scope of its own
# Programs older than Landlock do not know its calls, and nspawn refuses what it does not know.
# shellcheck disable=SC2086 # one word or none
SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 setpriv --pdeathsig TERM systemd-nspawn --register=no $keep --private-network \
    --private-users=identity --capability=CAP_SYS_TIME --directory="$machine" --machine="timesync-$$" --hostname=trial \
    --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self" \
    --console=pipe --boot </dev/null >"$root/console" 2>&1 &
container=$!
trap 'kill "$container" 2>/dev/null && wait "$container" || true' EXIT
trap 'exit 1' HUP INT TERM
leader=
tries=0
until [ -n "$leader" ] && within systemctl is-system-running >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -gt 120 ] || ! kill -0 "$container" 2>/dev/null; then
        cat "$root/console" >&2
        [ -z "$leader" ] || within systemctl --failed --no-pager >&2 || true
        echo "FAILED: the machine does not come up" >&2
        exit 1
    fi
    sleep 0.25
    leader=$(pgrep -P "$container" || true)
done
echo "== a machine with $(within systemctl --version | head -n 1)"
nsenter -t "$leader" -n ip link add v0 type veth peer name v1
for side in 0 1; do
    nsenter -t "$leader" -n ip address add "192.0.2.$((side + 1))/24" dev "v$side"
    nsenter -t "$leader" -n ip link set "v$side" up
done

echo "== the package, where nothing can be reached"
began=$(date +%s)
within timeout 60 dpkg -i /root/timesync.deb || fail "it was not installed within a minute"
echo "installed in $(($(date +%s) - began)) s"
soon 10 "the service" is ActiveState active
soon 10 "an error about the clock, at its priority" logged 'did not let us' -p err
soon 20 "a warning about the names, at its priority" logged 'cannot be looked up' -p warning
if logged 'cannot be looked up' -p err; then fail "a warning is an error to the journal"; fi
stopped

echo "== it waits for the right time where it is told to, and what waits for it too"
within systemctl stop time-sync.target
printf 'profile: ntp-client\nobserve: {ready: synchronized}\n' >"$machine/etc/timesync/timesync.yaml"
within systemctl start --no-block timesync
soon 10 "what it does" told
is ActiveState activating || fail "it is $(property ActiveState)"
[ "$(within systemctl is-active time-sync.target || true)" = inactive ] || fail "time-sync.target is reached without the time"
stopped

echo "== it starts, and says so when the time is right"
configuration
look identity
within timesync check /etc/timesync/timesync.yaml
printf '[Service]\nExecStart=timesync testserver --listen 127.0.0.1:11123\n' >"$machine/etc/systemd/system/server.service"
# Two daemons that steer one clock: starting ours ends the other.
printf '[Service]\nExecStart=sleep infinity\n' >"$machine/etc/systemd/system/chrony.service"
within systemctl daemon-reload
within systemctl start server chrony
began=$(date +%s)
within timeout 60 systemctl start timesync || fail "it does not start"
echo "ready after $(($(date +%s) - began)) s: $(property StatusText)"
locked >/dev/null || fail "it is ready, and not locked"
within systemctl is-active time-sync.target >/dev/null || fail "time-sync.target is not reached"
if within systemctl is-active chrony >/dev/null; then fail "the other daemon still runs"; fi

echo "== all parts work in the sandbox"
look processes "$(property MainPID)"
look sandbox "$(property MainPID)"
soon 10 "metrics" within /usr/lib/timesync/bin/python3 /root/look.py pages
within timesync query 127.0.0.1 --nts --ca /etc/timesync/cert.pem >"$root/query" || fail "no answer with NTS"
grep -q 'authenticated by NTS' "$root/query" || fail "not authenticated: $(cat "$root/query")"
grep -q 'kernel timestamps' "$root/query" || fail "no kernel timestamps"
[ "$(within timesync ports --json | grep -c '"TIME_TRANSMITTER"')" = 2 ] || fail "a PTP port does not give the time"
if within /usr/lib/timesync/bin/python3 /root/look.py landlock && logged 'no Landlock'; then
    fail "Landlock does not work in the sandbox"
fi
for line in 'Operation not permitted' 'Permission denied' 'Read-only file system' 'Bad system call'; do
    if logged "$line" --since "$(property ActiveEnterTimestamp)"; then fail "the sandbox refuses something: $line"; fi
done
within systemd-analyze security --no-pager timesync.service | tail -n 1

echo "== reloading"
sed -i 's/125ms, 125ms/250ms, 250ms/' "$machine/etc/timesync/timesync.yaml"
pid=$(property MainPID)
within systemctl reload timesync
soon 10 "the reload is said" logged 'configuration read again'
printf 'nonsense: [\n' >>"$machine/etc/timesync/timesync.yaml"
within systemctl reload timesync
soon 10 "the refusal is said, at its priority" logged 'the new configuration is refused' -p err
is MainPID "$pid" && is ActiveState active || fail "a reload ended it"
soon 20 "locked after reloading" locked
sed -i '$d' "$machine/etc/timesync/timesync.yaml"

echo "== a daemon that hangs"
within kill -STOP "$(property MainPID)"
began=$(date +%s)
soon 60 "the watchdog has another one started" is NRestarts 1
soon 60 "active again" is ActiveState active
echo "active again after $(($(date +%s) - began)) s"
logged 'Watchdog timeout' || fail "it was not the watchdog"
soon 20 "locked again" locked
look processes "$(property MainPID)"
soon 20 "metrics again" within /usr/lib/timesync/bin/python3 /root/look.py pages

echo "== stopping, a wrong configuration, and starting again"
stopped
cp "$machine/etc/timesync/timesync.yaml" "$root/good"
printf 'nonsense: [\n' >>"$machine/etc/timesync/timesync.yaml"
if within timeout 60 systemctl start timesync 2>/dev/null; then fail "it starts with a wrong configuration"; fi
is ExecMainStatus 2 && is ActiveState failed || fail "tried again: $(property ExecMainStatus), $(property SubState)"
cp "$root/good" "$machine/etc/timesync/timesync.yaml"
within timeout 60 systemctl start timesync || fail "it does not start again"
stopped

echo "== rules for devices"
within udevadm test --action=add /sys/class/net/lo >"$root/udev" 2>&1 || true
grep -q '60-timesync.rules' "$root/udev" || fail "udev does not read our rules"
if grep -E 'timesync.*(Invalid|Unknown|error|ignoring)' "$root/udev"; then fail "udev complains of our rules"; fi

echo "== removed while it runs"
within timeout 60 systemctl start timesync
pid=$(property MainPID)
cp -r "$machine/usr/lib/timesync" "$machine/opt/timesync"
within dpkg -P timesync
if within kill -0 "$pid" 2>/dev/null; then fail "it still runs"; fi

echo "== timesync install --start"
sed -i 's:/usr/lib/timesync:/opt/timesync:' "$machine/opt/timesync/bin/timesync"
began=$(date +%s)
within timeout 60 /opt/timesync/bin/timesync install --start || fail "it was not installed"
echo "installed in $(($(date +%s) - began)) s"
soon 10 "the service" is ActiveState active
within timesync uninstall --purge
[ "$(within systemctl is-active timesync || true)" = inactive ] || fail "it still runs"

kill -s RTMIN+4 "$leader"
wait "$container" || fail "the machine ended with $?"
trap - EXIT
