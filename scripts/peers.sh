#!/bin/sh
# Sees to the mail programs that the tests talk to: root on Debian or Ubuntu gets them installed, anyone else is told how.
#
# usage: scripts/peers.sh             install or name what is missing
#        scripts/peers.sh --list      print the packages, one a line
#        scripts/peers.sh --unpacked  print those that are only unpacked
#
# Mail servers that cannot be installed beside Postfix are unpacked into build/peers, and run from there.
#
# With POSTREEVE_REQUIRE_PEERS=1 a peer still missing at the end is a failure; otherwise its tests skip and are counted.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
node=tests/peers/node

# package, and the file or command that shows it is there: however it came, it need not come again
peers='
crowdsec-firewall-bouncer crowdsec-firewall-bouncer
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
php-cli              php
postfix              postfix
ruby                 ruby
sasl2-bin            saslauthd
strace               strace
swaks                swaks
ufw                  ufw
unbound              unbound
util-linux           prlimit
'

unpacked='exim4-base exim4-daemon-light opensmtpd'
place=build/peers

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
if [ "${1:-}" = --unpacked ]; then
    printf '%s\n' $unpacked
    exit 0
fi

lacking=$(missing)
if [ -n "$lacking" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing the peers of the tests: $lacking"
    # shellcheck disable=SC2086
    sh scripts/install.sh $lacking || echo "the peers could not all be installed" >&2
    lacking=$(missing)
fi

is_unpacked() { [ -x $place/usr/sbin/exim4 ] && [ -x $place/usr/sbin/smtpd ]; }

# The libraries that they need and nobody has installed come along.
libraries() {
    apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
        $unpacked | sed -n 's/^lib[^ :]*$/&/p' | sort -u | while read -r library; do
        dpkg-query -W -f '${Status}' "$library" 2>/dev/null | grep -q ' installed$' || echo "$library"
    done
}
# shellcheck disable=SC2086,SC2046
download() { (cd "$1" && apt-get -q -o Acquire::Retries=3 download $unpacked $(libraries) </dev/null >/dev/null); }

unpack() {
    packages=$(mktemp -d)
    chmod 755 "$packages"
    if ! download "$packages" 2>/dev/null; then
        { [ "$(id -u)" != 0 ] || apt-get -q update </dev/null >/dev/null; } && download "$packages" || return 1
    fi
    rm -rf $place.new
    mkdir -p $place.new
    for package in "$packages"/*.deb; do dpkg -x "$package" $place.new || return 1; done
    rm -rf $place "$packages"
    mv $place.new $place
}

if ! is_unpacked && command -v apt-get >/dev/null && command -v dpkg >/dev/null; then
    echo "unpacking the peers of the tests that cannot be installed beside others: $unpacked"
    unpack || echo "they could not be unpacked into $place" >&2
fi

if command -v npm >/dev/null && ! { [ -e $node/node_modules/.package-lock.json ] &&
    [ ! $node/package-lock.json -nt $node/node_modules/.package-lock.json ]; }; then
    echo "installing the peers of the tests: nodemailer"
    npm ci --prefix $node --no-audit --no-fund --ignore-scripts --loglevel=error </dev/null ||
        echo "nodemailer could not be installed: npm ci --prefix $node" >&2
fi
[ -d $node/node_modules/nodemailer ] || lacking="${lacking}nodemailer "
is_unpacked || lacking="${lacking}exim opensmtpd "

[ -n "$lacking" ] || exit 0
packages=$(printf '%s' "$lacking" | sed 's/nodemailer//; s/exim opensmtpd//; s/^ *//; s/ *$//')
echo "missing peers: $lacking" >&2
[ -z "$packages" ] || echo "  install them with: sudo apt-get install $packages" >&2
if [ "${POSTREEVE_REQUIRE_PEERS:-}" = 1 ]; then
    echo "POSTREEVE_REQUIRE_PEERS=1: a missing peer is a failure" >&2
    exit 1
fi
echo "  tests that need them will be skipped, and counted at the end" >&2
