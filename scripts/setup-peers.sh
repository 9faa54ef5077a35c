#!/bin/sh
# Installs the programs of others that the interop tests and the benchmarks compare with (Debian, Ubuntu).
# Usage: scripts/setup-peers.sh [--yes]      --yes doesn't ask, for CI
# Exit status: 0 all there; 1 refused or failed; 2 this machine has no apt-get.
set -eu

# Program and the package that brings it.
peers="nbdkit:nbdkit nbdinfo:libnbd-bin nbdcopy:libnbd-bin nbdfuse:libnbd-bin qemu-img:qemu-utils qemu-io:qemu-utils
qemu-nbd:qemu-utils fio:fio mke2fs:e2fsprogs e2fsck:e2fsprogs restic:restic cmp:diffutils"

yes=no
for argument in "$@"; do
  case "$argument" in
    --yes | -y) yes=yes ;;
    *)
      echo "setup-peers: unknown argument $argument (only --yes is known)" >&2
      exit 1
      ;;
  esac
done

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

if [ -z "$packages" ]; then
  echo "setup-peers: every peer is installed"
  exit 0
fi

if ! command -v apt-get >/dev/null 2>&1; then
  echo "setup-peers: this machine has no apt-get. Install these yourself (Debian's names):$packages" >&2
  echo "setup-peers: without them the tests that need them are skipped, and say so" >&2
  exit 2
fi

sudo=""
if [ "$(id -u)" -ne 0 ]; then
  sudo="sudo"
fi

echo "setup-peers: will run: ${sudo:+$sudo }apt-get update && ${sudo:+$sudo }apt-get install --no-install-recommends$packages"
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

export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q
# The list is a list of words on purpose.
# shellcheck disable=SC2086
$sudo apt-get install -y -q --no-install-recommends $packages
