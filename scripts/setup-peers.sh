#!/bin/sh
# Installs the programs of others that the tests and the benchmarks talk to: Debian's (Debian, Ubuntu) for the machine, and
# Python's below .cache/peers, one virtual environment for each scripts/peers/NAME.txt.
# Usage: scripts/setup-peers.sh [--yes] [NAME…]      --yes doesn't ask, for CI; with NAMEs only these of scripts/peers, and no apt-get
# Exit status: 0 all there; 1 refused or failed; 2 this machine has no apt-get for what is missing.
set -eu
cd "$(dirname "$0")/.."

# Program and the package that brings it.
peers="nbdkit:nbdkit nbdinfo:libnbd-bin nbdcopy:libnbd-bin nbdfuse:libnbd-bin qemu-img:qemu-utils qemu-io:qemu-utils
qemu-nbd:qemu-utils fio:fio mke2fs:e2fsprogs e2fsck:e2fsprogs restic:restic rsync:rsync cmp:diffutils"

yes=no
only=""
for argument in "$@"; do
  case "$argument" in
    --yes | -y) yes=yes ;;
    *)
      if [ ! -f "scripts/peers/$argument.txt" ]; then
        echo "setup-peers: unknown argument $argument (--yes, or a name of scripts/peers)" >&2
        exit 1
      fi
      only="$only $argument"
      ;;
  esac
done
if [ -n "$only" ]; then peers=""; fi

# Asks before anything is changed.
confirm() {
  echo "setup-peers: will run: $1"
  if [ "$yes" = no ]; then
    printf "Go on? [y/N] "
    answer=""
    read -r answer || true
    case "$answer" in
      y | Y | yes) ;;
      *)
        echo "setup-peers: nothing was changed" >&2
        exit 1
        ;;
    esac
  fi
}

python_works() {
  python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

# Whether .cache/peers/NAME holds what scripts/peers/NAME.txt asks for, to the letter.
python_peer_is_there() {
  cmp -s "scripts/peers/$1.txt" ".cache/peers/$1/installed.txt"
}

install_python_peer() {
  rm -rf ".cache/peers/$1"
  python3 -m venv ".cache/peers/$1" &&
    ".cache/peers/$1/bin/pip" install -q --disable-pip-version-check -r "scripts/peers/$1.txt" &&
    cp "scripts/peers/$1.txt" ".cache/peers/$1/installed.txt"
}

PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
packages=""
for peer in $peers; do
  package="${peer#*:}"
  if ! command -v "${peer%%:*}" >/dev/null 2>&1; then
    case " $packages " in
      *" $package "*) ;;
      *) packages="$packages $package" ;;
    esac
  fi
done

environments=""
for name in ${only:-$(basename -a -s .txt scripts/peers/*.txt)}; do
  python_peer_is_there "$name" || environments="$environments $name"
done
if [ -n "$environments" ] && [ -z "$only" ] && ! python_works; then packages="$packages python3 python3-venv"; fi

status=0
if [ -z "$packages" ] && [ -z "$environments" ]; then
  echo "setup-peers: every peer is installed"
  exit 0
fi

if [ -n "$packages" ] && ! command -v apt-get >/dev/null 2>&1; then
  echo "setup-peers: this machine has no apt-get. Install these yourself (Debian's names):$packages" >&2
  echo "setup-peers: without them the tests that need them are skipped, and say so" >&2
  status=2
elif [ -n "$packages" ]; then
  sudo=""
  if [ "$(id -u)" -ne 0 ]; then
    sudo="sudo"
  fi
  confirm "${sudo:+$sudo }apt-get update && ${sudo:+$sudo }apt-get install --no-install-recommends$packages"
  export DEBIAN_FRONTEND=noninteractive
  $sudo apt-get update -q
  # The list is a list of words on purpose.
  # shellcheck disable=SC2086
  $sudo apt-get install -y -q --no-install-recommends $packages
fi

if [ -n "$environments" ]; then
  confirm "python3 -m venv and pip install in .cache/peers, for:$environments"
  for name in $environments; do
    if ! python_works || ! install_python_peer "$name"; then
      echo "setup-peers: .cache/peers/$name could not be made (it needs Python 3.10 with venv, and PyPI); its tests are skipped, and say so" >&2
      [ "$status" -ne 0 ] || status=1
    fi
  done
fi
exit "$status"
