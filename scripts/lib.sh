# What the scripts of this directory share; sourced by each of them.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# ONEJOB_VENV names a virtual environment that is complete: nothing is installed into it.
# shellcheck disable=SC2034  # read by those who source this
venv=${ONEJOB_VENV:-$root/.venv}

say() { printf '  %-11s %s\n' "$1" "$2"; }

# complain WHAT NEXT: what is wrong in one line, the next step in another.
complain() { printf '%s: %s\n  next: %s\n' "$(basename "$0")" "$1" "$2" >&2; }

# die WHAT NEXT: complains, and ends.
die() {
    complain "$@"
    exit 1
}

have() { command -v "$1" >/dev/null; }

may_install() { [[ $EUID -eq 0 ]] && have apt-get; }

# install PACKAGE...: Debian packages; apt's own words are shown only if it fails.
install() {
    local words waits='' give_up=$((SECONDS + 300))
    may_install || die "$* missing" "as root: apt-get install $*"
    say packages "$*"
    until words=$(apt_install "$@" 2>&1); do
        # Another one may be at work, as after the start of a machine. Its own option waits for
        # dpkg's locks, and not for that of the lists.
        [[ $words == *"Could not get lock"* && $SECONDS -lt $give_up ]] ||
            die "apt-get could not install $*: $(tail -n 3 <<<"$words")" "install $* by hand"
        [[ -n $waits ]] || say packages "waiting: another apt is at work"
        waits=yes
        sleep 1
    done
}

apt_install() {
    local -x DEBIAN_FRONTEND=noninteractive LC_ALL=C
    apt-get update -q && apt-get install -q -y --no-install-recommends "$@"
}
