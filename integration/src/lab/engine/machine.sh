# A small machine of its own: this runs as the first process in new network, mount and process id
# namespaces. Everything in it ends with this process, and this process ends with whoever holds the
# other end of its descriptor 3. $1 names the control group of its containers; $2 is "true" if the engine
# makes rules of iptables.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
mount --make-rprivate /

# /etc is a copy without Docker's part, and /run and the BPF file system are empty, so nothing that
# an engine or bowline leaves in them stays.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/old-etc /run/lab
mount --bind /etc /run/old-etc
mount -t tmpfs -o mode=755 tmpfs /etc
cp -a /run/old-etc/. /etc/
umount /run/old-etc
rm -rf /etc/docker /run/old-etc
# The machine that this one is on may take its own away.
umount -l /sys/fs/bpf 2>/dev/null || true
mount -t bpf bpf /sys/fs/bpf
ip link set lo up

# Every applet of busybox, for an image that comes from no registry.
cd /run/lab
mkdir -p image/bin image/etc image/tmp
cp "$(command -v busybox)" image/bin/busybox
busybox --list | while read -r applet; do
    test "$applet" = busybox || ln -s busybox "image/bin/$applet"
done

# Without a containerd of its own the engine would use the machine's. The cri plugin serves
# Kubernetes, the opt plugin makes /opt/containerd; neither is used.
cat >containerd.toml <<END
version = 2
root = "/run/lab/containerd"
state = "/run/lab/containerd-state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = "/run/lab/containerd.sock"
END
containerd --config containerd.toml >containerd.log 2>&1 </dev/null 3<&- &
# A group of our own is easily removed; systemd's driver would ask for a slice.
{
    dockerd --containerd /run/lab/containerd.sock --host unix:///run/lab/docker.sock \
        --data-root /run/lab/data --exec-root /run/lab/exec --pidfile /run/lab/docker.pid \
        --storage-driver=vfs --bridge=none "--iptables=$2" --ip6tables=false \
        "--ip-forward=$2" --exec-opt=native.cgroupdriver=cgroupfs --cgroup-parent="/$1" \
        >dockerd.log 2>&1 </dev/null || true
    touch engine-is-gone
} 3<&- &

# While the first process waits, it also takes note of the deaths of processes that were left to it.
cat <&3 >/dev/null &
wait "$!"
