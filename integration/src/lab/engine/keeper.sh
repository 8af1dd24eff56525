# Starts the machine whose script is $1, and cleans up after it. It goes on when the tests have
# ended, in whatever way: that closes its standard input, which is what the machine waits for. $2
# names the control group of the machine's containers, $3 says whether its engine makes rules of iptables.
exec 3<&0
unshare --net --mount --pid --fork --kill-child --mount-proc sh -c "$1" machine "$2" "$3" &
# Its namespaces are those of the machine.
echo "$!"
exec >&-
wait
# Version 1 has one hierarchy of groups per controller, version 2 is one itself.
find /sys/fs/cgroup -depth -type d -path "*/$2*" -exec rmdir {} +
