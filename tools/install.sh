#!/usr/bin/env bash
# Installs what is missing, with apt-get (Debian, Ubuntu) or Homebrew (macOS).
# Usage: tools/install.sh build | test | demo | aarch64     (test and demo include build)
# aarch64: a cross compiler, qemu and cmocka for tools/aarch64.sh; on Debian for x86-64 alone.
set -eu
what=${1:-build}

debian_build="gcc make pkg-config libc6-dev libcjson-dev libpopt-dev libzstd-dev libxxhash-dev libpcre2-dev \
    libutf8proc-dev libedit-dev"
debian_test="$debian_build clang clang-format libclang-rt-dev libcmocka-dev valgrind zstd jq"
debian_demo="$debian_build bible-kjv bible-kjv-text"
brew_build="make pkg-config cjson popt zstd xxhash pcre2 utf8proc"
brew_test="$brew_build cmocka clang-format jq"

# Prints those of the packages that are not installed.
missing_debian() {
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
    done
}

install_debian() {
    local packages root=""
    [ "$(id -u)" = 0 ] || root=sudo
    packages=$(missing_debian "$@")
    [ -n "$packages" ] || return 0
    echo "installing:" $packages >&2
    export DEBIAN_FRONTEND=noninteractive
    $root apt-get -o DPkg::Lock::Timeout=120 -qq update >&2
    # The sanitizers' runtime of clang has the version in its name before Debian 13.
    if ! apt-cache show libclang-rt-dev >/dev/null 2>&1; then
        packages=$(echo "$packages" | sed '/^libclang-rt-dev$/d')
        case " $* " in *" clang "*)
            version=$(apt-cache depends clang | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -1)
            packages="$packages $(missing_debian "libclang-rt-$version-dev")" ;;
        esac
    fi
    packages=$(echo $packages)
    [ -z "$packages" ] || $root apt-get -o DPkg::Lock::Timeout=120 -y -qq --no-install-recommends \
        install $packages >&2
}

install_cross() {
    local root=""
    [ "$(id -u)" = 0 ] || root=sudo
    if ! dpkg --print-foreign-architectures | grep -qx arm64; then
        $root dpkg --add-architecture arm64
    fi
    install_debian gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user libcmocka-dev:arm64
}

install_brew() {
    for package in "$@"; do
        brew list --versions "$package" >/dev/null 2>&1 || brew install "$package" >&2
    done
}

if command -v apt-get >/dev/null; then
    case $what in
        build) install_debian $debian_build ;;
        test)  install_debian $debian_test ;;
        demo)  install_debian $debian_demo ;;
        aarch64) [ "$(dpkg --print-architecture)" != amd64 ] || install_cross ;;
        *)     echo "usage: tools/install.sh build | test | demo | aarch64" >&2; exit 2 ;;
    esac
elif command -v brew >/dev/null; then
    case $what in
        build | demo) install_brew $brew_build ;;
        test)         install_brew $brew_test ;;
        aarch64)      ;;
        *)            echo "usage: tools/install.sh build | test | demo" >&2; exit 2 ;;
    esac
else
    echo "install.sh: neither apt-get nor brew is here; needed:" >&2
    echo "  a C11 compiler, GNU make, pkg-config, cJSON, popt, zstd, xxHash, PCRE2, utf8proc, libedit; for tests also cmocka, valgrind" >&2
fi
