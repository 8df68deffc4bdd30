#!/bin/sh
# Installs what tests and acceptance runs need besides Go: real cameras and
# players. On a machine where packages cannot be installed it says what is
# missing; the tests that need it then fail by name.
#   scripts/setup.sh [run|test]
set -eu
want=${1:-test}
run="ffmpeg"
test="ffmpeg python3 python3-gi python3-grpcio python3-protobuf gir1.2-gst-rtsp-server-1.0 gir1.2-gstreamer-1.0
 gir1.2-gst-plugins-base-1.0 libgstrtspserver-1.0-0 gstreamer1.0-tools gstreamer1.0-rtsp gstreamer1.0-plugins-base gstreamer1.0-plugins-good
 gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav mpv vlc-bin vlc-plugin-base mediainfo chromium curl e2fsprogs fuse3 iproute2 strace systemd"
[ "$want" = run ] && list=$run || list=$test
missing=
for p in $list; do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null; then
	echo "setup: not a Debian machine; install by hand:$missing" >&2
	exit 0
fi
if [ "$(id -u)" = 0 ]; then sudo=; elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo="sudo -n"; else
	echo "setup: no right to install packages; please run: apt-get install$missing" >&2
	exit 0
fi
echo "setup: installing$missing" >&2
$sudo apt-get update -qq >&2 || true
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >&2 || {
	echo "setup: could not install all of:$missing; tests that need them will fail and say so" >&2
}
