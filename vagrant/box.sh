#!/bin/sh
# Builds the box of the testbed from Debian's packages, as root: Debian 12 with Docker, systemd and ssh, for
# libvirt. Nothing else is downloaded. The kernel and its initial file system stay beside the box: the
# virtual machine is started with them directly, which needs no boot loader and no partitions.
#
#   box.sh FOLDER [SERIES]     SERIES of kernel: 6.1 or 6.12 (the default)
set -eu
folder=$1
series=${2:-6.12}
case $series in
    6.1) package=linux-image-cloud-amd64 ;;
    6.12) package=linux-image-6.12-cloud-amd64 ;;
    *) echo "no kernel of series $series" >&2; exit 2 ;;
esac
mkdir -p "$folder"
work=$(mktemp -d "$folder/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
root=$work/root

# The key that every box of Vagrant's begins with: whoever has the box has it.
key=$(find / -xdev -path '*vagrant*/keys/vagrant.pub' -not -path '*/proc/*' 2>/dev/null | head -n 1)
[ -n "$key" ] || { echo "Vagrant's public key is nowhere: is Vagrant installed?" >&2; exit 1; }

packages=systemd-sysv,udev,dbus,kmod,procps,openssh-server,sudo,netbase,iproute2,iputils-ping,curl
packages=$packages,docker.io,iptables,busybox-static,ca-certificates,initramfs-tools,$package
echo 'installing Debian 12'
mmdebstrap --variant=minbase --mode=root --aptopt='Apt::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --include="$packages" bookworm "$root"

# The user that Vagrant is.
chroot "$root" useradd --create-home --shell /bin/bash --groups docker vagrant
install -d -m 700 -o 1000 -g 1000 "$root/home/vagrant/.ssh"
install -m 600 -o 1000 -g 1000 "$key" "$root/home/vagrant/.ssh/authorized_keys"
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' > "$root/etc/sudoers.d/vagrant"
chmod 440 "$root/etc/sudoers.d/vagrant"

# Addresses: the management interface asks, the other one is told on the kernel's command line.
cat > "$root/etc/systemd/network/10-management.network" <<END
[Match]
Name=eth0
[Network]
DHCP=ipv4
[DHCPv4]
ClientIdentifier=mac
END
cat > "$root/usr/local/sbin/underlay" <<'END'
#!/bin/sh
# Gives the second interface the address that the kernel's command line says.
address=$(sed -n 's/.*underlay=\([^ ]*\).*/\1/p' /proc/cmdline)
[ -n "$address" ] || exit 0
ip link set eth1 up
ip address replace "$address" dev eth1
END
chmod 755 "$root/usr/local/sbin/underlay"
cat > "$root/etc/systemd/system/underlay.service" <<END
[Unit]
Before=network-online.target bowline-agent.service docker.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/underlay
[Install]
WantedBy=multi-user.target
END
echo '/dev/vda / ext4 defaults,noatime 0 0' > "$root/etc/fstab"
printf '127.0.0.1 localhost\n' > "$root/etc/hosts"
rm -f "$root/etc/resolv.conf" "$root"/etc/ssh/ssh_host_*
# Emulated processors take seconds for a key, and all testbeds may have the same.
chroot "$root" ssh-keygen -q -N '' -t ed25519 -f /etc/ssh/ssh_host_ed25519_key
printf 'UseDNS no\nGSSAPIAuthentication no\nHostKey /etc/ssh/ssh_host_ed25519_key\n' \
    > "$root/etc/ssh/sshd_config.d/testbed.conf"
chroot "$root" systemctl --quiet enable systemd-networkd underlay docker
chroot "$root" systemctl --quiet set-default multi-user.target
# What nobody needs here, and an emulated processor has no time for.
chroot "$root" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer getty@tty1.service serial-getty@ttyS0.service \
    systemd-networkd-wait-online.service systemd-timesyncd.service systemd-pstore.service \
    systemd-journal-flush.service systemd-update-utmp.service systemd-logind.service
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\nAudit=no\n' > "$root/etc/systemd/journald.conf.d/testbed.conf"

echo 'making the initial file system and the disk'
# An initial file system that loads what the disk and the network need, and nothing else.
release=$(basename "$(find "$root/lib/modules" -mindepth 1 -maxdepth 1)")
# A box is whole when this says of which kernel it is.
rm -f "$folder/kernel"
cp "$root/boot/vmlinuz-$release" "$folder/vmlinuz"
initial=$work/initial
mkdir -p "$initial/bin" "$initial/dev" "$initial/root" "$initial/modules"
cp "$root/bin/busybox" "$initial/bin/busybox"
number=100
for module in virtio_pci virtio_blk virtio_net ext4; do
    chroot "$root" modprobe --set-version "$release" --show-depends "$module"
done | sed -n 's/^insmod //p' | awk '!seen[$1]++ { print $1 }' > "$work/modules"
while read -r module; do
    number=$((number + 1))
    case $module in
        *.xz) xz -dc "$root$module" ;;
        *) cat "$root$module" ;;
    esac > "$initial/modules/$number.ko"
done < "$work/modules"
cat > "$initial/init" <<'END'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in /modules/*.ko; do /bin/busybox insmod "$module"; done
until [ -b /dev/vda ]; do /bin/busybox usleep 50000; done
/bin/busybox mount -t ext4 -o noatime /dev/vda /root
/bin/busybox mount -o move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
END
chmod 755 "$initial/init"
(cd "$initial" && find . | cpio --quiet -o -H newc -R 0:0) > "$folder/initrd"
rm -rf "$root"/boot/* "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*

# The whole disk is one file system, written without mounting anything.
truncate -s 4G "$work/disk"
mkfs.ext4 -q -L root -d "$root" "$work/disk"
qemu-img convert -O qcow2 "$work/disk" "$work/box.img"
echo '{ "provider": "libvirt", "format": "qcow2", "virtual_size": 4 }' > "$work/metadata.json"
tar -C "$work" -c metadata.json box.img | gzip -1 > "$folder/bowline.box"
echo "$release" > "$folder/kernel"
ls -l "$folder"
