#!/bin/sh
# Downloads the California housing data (20,640 block groups of the 1990 census; Pace & Barry 1997)
# and checks that it is, byte for byte, the file that the figures in the README are from.
#
# Usage: download.sh [URL [FILE]]      FILE is california_housing.csv unless given.
set -eu

url=${1:-https://raw.githubusercontent.com/ageron/handson-ml/master/datasets/housing/housing.csv}
file=${2:-california_housing.csv}
expected=8a3727f4cf54ac1a327f69b1d5b4db54c5834ea81c6e4efc0d163300022a685e

fail() {
    echo "download.sh: $*" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

sha256() {
    if has sha256sum; then sha256sum; else shasum -a 256; fi <"$1" | cut -d ' ' -f 1
}

if [ -f "$file" ] && [ "$(sha256 "$file")" = "$expected" ]; then
    echo "$file is already there"
    exit 0
fi

part=$(mktemp "$file.XXXXXX") || fail "cannot write beside $file"
trap 'rm -f "$part"' EXIT
trap 'exit 1' HUP INT TERM

if has curl; then
    curl --fail --silent --show-error --location --output "$part" -- "$url" || fail "cannot fetch $url"
elif has wget; then
    wget --quiet --output-document "$part" -- "$url" || fail "cannot fetch $url"
else
    fail "needs curl or wget"
fi

actual=$(sha256 "$part")
[ "$actual" = "$expected" ] || fail "$url is another file: SHA-256 $actual where $expected was expected"

chmod 644 "$part"
mv "$part" "$file"
echo "$file: $(wc -c <"$file" | tr -d ' ') bytes, SHA-256 as expected"
