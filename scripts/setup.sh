# Sourced by the scripts: where the project stands, where tools are kept, and what the machine lacks.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${MEDIARY_TARGET_CACHE:-$HOME/.cache/mediary}
if ! mkdir -p "$cache" 2>/dev/null || [ ! -w "$cache" ]; then
  cache=$root/.cache
  mkdir -p "$cache"
fi

# need "TEST" PACKAGE...: installs Debian packages if the test fails.
need() {
  local test=$1 sudo=
  shift
  if sh -c "$test" >/dev/null 2>&1; then return; fi
  echo "missing here: $*; installing" >&2
  if [ "$(id -u)" != 0 ]; then sudo=sudo; fi
  $sudo apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qq -y --no-install-recommends "$@" >&2
}

# The linker of Rust, and the C compiler of the TLS library.
need_compiler() { need "command -v cc" build-essential; }
