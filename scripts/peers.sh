#!/bin/sh
# Sees to the mail programs that the tests talk to: root on Debian or Ubuntu gets them installed, anyone else is told how.
#
# usage: scripts/peers.sh            install or name what is missing
#        scripts/peers.sh --list     print the packages, one a line
#
# With POSTREEVE_REQUIRE_PEERS=1 a peer still missing at the end is a failure; otherwise its tests skip and are counted.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
node=tests/peers/node

# package, and the file or command that shows it is there: however it came, it need not come again
peers='
curl                 curl
dbus-daemon          dbus-daemon
dovecot-core         dovecot
dovecot-lmtpd        /usr/lib/dovecot/lmtp
dovecot-submissiond  /usr/lib/dovecot/submission-login
fail2ban             fail2ban-client
faketime             faketime
firewalld            firewall-offline-cmd
iproute2             ip
ipset                ipset
iptables             iptables-restore
libsasl2-modules     /usr/share/doc/libsasl2-modules
msmtp                msmtp
nftables             nft
nmap                 nmap
nodejs               node
npm                  npm
openssl              openssl
postfix              postfix
sasl2-bin            saslauthd
strace               strace
swaks                swaks
ufw                  ufw
unbound              unbound
util-linux           prlimit
'

each() { printf '%s' "$peers" | while read -r package shown; do [ -z "$package" ] || "$1" "$package" "$shown"; done; }
name() { echo "$1"; }
name_if_missing() {
    case $2 in
        /*) [ -e "$2" ] || echo "$1" ;;
        *) command -v "$2" >/dev/null 2>&1 || echo "$1" ;;
    esac
}
# shellcheck disable=SC2317
missing() { each name_if_missing | tr '\n' ' '; }

if [ "${1:-}" = --list ]; then
    each name
    exit 0
fi

lacking=$(missing)
if [ -n "$lacking" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing the peers of the tests: $lacking"
    # shellcheck disable=SC2086
    sh scripts/install.sh $lacking || echo "the peers could not all be installed" >&2
    lacking=$(missing)
fi

if command -v npm >/dev/null && ! { [ -e $node/node_modules/.package-lock.json ] &&
    [ ! $node/package-lock.json -nt $node/node_modules/.package-lock.json ]; }; then
    echo "installing the peers of the tests: nodemailer"
    npm ci --prefix $node --no-audit --no-fund --ignore-scripts --loglevel=error </dev/null ||
        echo "nodemailer could not be installed: npm ci --prefix $node" >&2
fi
[ -d $node/node_modules/nodemailer ] || lacking="${lacking}nodemailer"

[ -n "$lacking" ] || exit 0
packages=$(printf '%s' "$lacking" | sed 's/nodemailer//')
echo "missing peers: $lacking" >&2
[ -z "$packages" ] || echo "  install them with: sudo apt-get install $packages" >&2
if [ "${POSTREEVE_REQUIRE_PEERS:-}" = 1 ]; then
    echo "POSTREEVE_REQUIRE_PEERS=1: a missing peer is a failure" >&2
    exit 1
fi
echo "  tests that need them will be skipped, and counted at the end" >&2
