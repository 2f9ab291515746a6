# shellcheck shell=sh
# Read by the scripts that fetch other people's programs.

# From where this machine has its own packages.
debian_mirror() {
    mirror="$(apt_mirror)"
    if [ -z "$mirror" ]; then
        # A fresh machine has no lists of packages yet.
        apt-get update -qq >&2 || true
        mirror="$(apt_mirror)"
    fi
    printf '%s\n' "$mirror"
}

apt_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' | head -n 1
}
