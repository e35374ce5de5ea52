# Sourced by tools/quickstart and tools/test: installs Debian packages that are missing, builds the compiler.
# Needs nothing beforehand but a Debian 12 (or newer) with apt, and root or sudo.

LINKED_PACKAGES="libjpeg62-turbo-dev libpng-dev zlib1g-dev libjansson-dev libevent-dev libwebp-dev" # programs hold parts of these
BUILD_PACKAGES="gcc libc6-dev binutils cmake ninja-build pkg-config llvm-19-dev libprotobuf-c-dev
    protobuf-c-compiler libxxhash-dev $LINKED_PACKAGES"
TEST_PACKAGES="llvm-19-tools python3 python3-numpy python3-onnx python3-pil libonnx-testdata graphviz groff-base
    dataset-fashion-mnist qemu-user openmpi-bin"
DEMO_PACKAGES="python3 dataset-fashion-mnist" # the images of tools/quickstart

# install_packages NAME...: those of them that dpkg does not have yet
install_packages() {
    local missing="" p
    for p in "$@"; do
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q "ok installed" || missing="$missing $p"
    done
    [ -z "$missing" ] && return 0
    command -v apt-get >/dev/null || {
        echo "this machine has no apt-get; install what corresponds to:$missing" >&2
        return 1
    }
    local sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo"
    echo "installing:$missing"
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing \
        >/dev/null
}

# build_hone FOLDER TARGET [cmake options]
build_hone() {
    local dir="$1" target="$2"
    shift 2
    cmake -S . -B "$dir" -G Ninja "$@" >/dev/null && cmake --build "$dir" --target "$target"
}
