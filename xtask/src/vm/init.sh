#!/usr/bin/busybox sh
# The first process of the virtual machine: it makes the system that tests expect, runs them, and
# switches the machine off. What tests print goes to the second serial line, the kernel's own
# messages to the first one. Lines that begin with `bowline-vm:` are for the reader of that line.
export PATH=/usr/bin
busybox --install -s /usr/bin 2>/dev/null
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t bpf bpf /sys/fs/bpf
mkdir /run/netns
ip link set lo up

exec >/dev/ttyS1 2>&1 </dev/null
stty -F /dev/ttyS1 -opost
echo "bowline-vm: kernel $(uname -r)"
export BOWLINE_SKIPPED=/tmp/skipped
touch "$BOWLINE_SKIPPED"
sh /tests.sh
code=$?
sed 's/^/bowline-vm: skipped /' "$BOWLINE_SKIPPED"
echo "bowline-vm: exit $code"
# Closing the line waits until everything has been sent.
exec >/dev/null 2>&1
poweroff -f
