#!/bin/sh
# Installs Debian packages without a question, without starting or enabling a service, and without removing a package.
#
# usage: scripts/install.sh PACKAGE...
set -eu

[ "$(id -u)" = 0 ] || { echo "only root can install. Run: apt-get install $*" >&2; exit 1; }
command -v apt-get >/dev/null || { echo "this machine has no apt-get; install by its own means: $*" >&2; exit 1; }

export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
kept=

# A mail server that starts by itself would take port 25 and perhaps receive mail: a policy-rc.d that answers 101 forbids
# it while this script runs, and what stood there before comes back however the script ends.
restore() {
    if [ -n "$kept" ]; then mv -f "$kept" "$policy"; else rm -f "$policy"; fi
}
if [ -e "$policy" ]; then
    kept=$policy.before-postreeve
    mv -f "$policy" "$kept"
fi
trap restore EXIT
trap 'exit 130' INT TERM HUP
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

services=
for package in "$@"; do
    case $package in
        postfix)
            command -v debconf-set-selections >/dev/null &&
                echo 'postfix postfix/main_mailer_type select Local only' | debconf-set-selections
            service=postfix ;;
        dovecot-core) service=dovecot ;;
        sasl2-bin) service=saslauthd ;;
        unbound | ufw | firewalld | fail2ban | crowdsec-firewall-bouncer) service=$package ;;
        *) continue ;;
    esac
    # Only a package that is new here: what was installed before keeps its place in the boot.
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || services="$services $service"
done

apt-get -q -y -o Acquire::Retries=3 update </dev/null
apt-get -q -y -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 install --no-install-recommends --no-remove "$@" </dev/null

# update-rc.d knows both ways of starting at boot, and works where no systemd runs; firewalld has a unit only.
for service in $services; do
    update-rc.d "$service" disable >/dev/null 2>&1 ||
        systemctl disable "$service" >/dev/null 2>&1 || echo "note: could not keep $service from starting at boot" >&2
done
