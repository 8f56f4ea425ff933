#!/bin/sh
# The peers of `make bench` on Debian, as root. pynetdicom comes with the development dependencies of the project.
set -e
hold=/usr/sbin/policy-rc.d
if [ ! -e "$hold" ]; then printf '#!/bin/sh\nexit 101\n' >"$hold"; chmod +x "$hold"; trap 'rm -f "$hold"' EXIT; fi
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends dcmtk orthanc orthanc-dicomweb nginx-light
