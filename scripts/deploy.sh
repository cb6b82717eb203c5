#!/bin/sh
# Installs the server for production: an environment of its own, the account it runs under, its systemd unit and the
# command. Run again it upgrades; configuration, queue and mail are not touched, and the server is not restarted.
#
# usage: PREFIX=/opt/postreeve DESTDIR= PYTHON=python3 ACCELERATE= scripts/deploy.sh
#
# With DESTDIR all files go below it, for packagers and tests, and nothing else of the machine is changed.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3} prefix=${PREFIX:-/opt/postreeve} root=${DESTDIR:-}
account=postreeve

fail() {
    echo "$1" >&2
    exit 1
}

case $prefix in
/home/* | /root/* | /tmp/*) [ -n "$root" ] || fail "PREFIX=$prefix is out of reach for a service: take a place such as /opt/postreeve" ;;
/*) ;;
*) fail "PREFIX must be an absolute path, not $prefix" ;;
esac
[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "only root can install: sudo make install PREFIX=$prefix"
umask 022
sh scripts/python.sh "$python" "$root$prefix"

# The server's account must reach the interpreter: one in root's home directory, as some version managers put it, will not do.
home=$("$python" -c 'import sys; print(sys.base_prefix)')
case $home in
/root/* | /home/*) [ -n "$root" ] || fail "$python is in $home, out of reach for the server's account. Take the system's: make install PYTHON=/usr/bin/python3" ;;
esac

echo "installing postreeve into $root$prefix"
[ -e "$root$prefix/bin/python" ] || "$python" -m venv "$root$prefix"
pip() { "$root$prefix/bin/python" -m pip --disable-pip-version-check --no-input --quiet "$@"; }
pip install --require-hashes -r requirements/runtime.txt
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
trap 'exit 130' INT TERM HUP
PYTHON=$python sh scripts/wheel.sh "$wheels"
pip install --no-deps --force-reinstall "$wheels"/postreeve-*.whl

# A file that was changed here stays as it is, and the new one is put beside it. What we put is remembered by its digest.
place() {
    target=$root$2 record=$root$prefix/share/postreeve/installed/$(basename "$2").sha256
    mkdir -p "$(dirname "$target")" "$(dirname "$record")"
    if [ -e "$target" ] && ! sed "s#/opt/postreeve/#$prefix/#g" "$1" | cmp -s - "$target" &&
        ! { [ -e "$record" ] && [ "$(cat "$record")" = "$(sha256sum <"$target")" ]; }; then
        echo "$target was changed here and stays; the new one is $target.new" >&2
        target=$target.new
    fi
    sed "s#/opt/postreeve/#$prefix/#g" "$1" >"$target"
    chmod 644 "$target"
    [ "$target" != "$root$2" ] || sha256sum <"$target" >"$record"
}
place packaging/sysusers.d/postreeve.conf /etc/sysusers.d/postreeve.conf
place packaging/systemd/postreeve.service /etc/systemd/system/postreeve.service
mkdir -p "$root/usr/local/bin"
ln -sf "$prefix/bin/postreeve" "$root/usr/local/bin/postreeve"
[ -z "$root" ] || exit 0

if ! getent passwd "$account" >/dev/null; then
    echo "making the account $account"
    useradd --system --user-group --no-create-home --home-dir /var/lib/postreeve --shell /usr/sbin/nologin "$account"
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    if systemctl --quiet is-active postreeve; then
        echo "the old version is still running; change over with: systemctl restart postreeve"
    fi
fi
[ -e /etc/postreeve/postreeve.toml ] || echo "next: sudo postreeve quickstart mail.example.org jane@example.org"
