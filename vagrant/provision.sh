#!/bin/sh
# Makes a machine one of bowline's hosts: Docker, the program, its agent, and containers to plug in.
set -eu
grep -qw "$(hostname)" /etc/hosts || echo "127.0.1.1 $(hostname)" >> /etc/hosts
if ! command -v dockerd > /dev/null; then
    # A public box.
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends docker.io busybox-static curl
fi
install -m 755 /tmp/bowline /usr/local/bin/bowline
install -m 644 /tmp/bowline-agent.service /tmp/bowline.socket /etc/systemd/system/
install -m 644 /tmp/testbed.yaml /root/testbed.yaml
systemctl daemon-reload
systemctl --quiet enable --now bowline.socket bowline-agent

# An image without a registry: busybox alone.
if ! docker image inspect busybox:testbed > /dev/null 2>&1; then
    image=$(mktemp -d)
    mkdir -p "$image/bin" "$image/www"
    cp /bin/busybox "$image/bin/busybox"
    for name in sh sleep httpd nc ping wget hostname; do ln -s busybox "$image/bin/$name"; done
    tar -C "$image" -c . | docker import - busybox:testbed > /dev/null
    rm -rf "$image"
fi
# Each host runs what the topology has for it. A container says who it is to whoever asks.
case $(hostname) in
    h1) containers="web" ;;
    h2) containers="api db" ;;
    *) containers="" ;;
esac
for name in $containers; do
    [ "$(docker container inspect --format '{{.State.Running}}' "$name" 2> /dev/null)" = true ] && continue
    docker rm --force "$name" > /dev/null 2>&1 || true
    docker run --detach --name "$name" --network none --restart always \
        --security-opt apparmor=unconfined busybox:testbed \
        sh -c "echo $name > /www/index.html; exec httpd -f -h /www" > /dev/null
done
echo "host $(hostname), Linux $(uname -r), $(docker --version), $(bowline --version)"
