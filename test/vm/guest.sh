#!/bin/sh
# Process 1 of the guest: runs vitest on the host's clone, tells its exit status, and turns the machine off.
# HG_CLONE, HG_NODE, HG_MODULES, HG_ARGS (base64, each argument ended by a NUL) come from the kernel's command line.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root NO_COLOR=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
case $HG_CLONE in /tmp/*) umount /tmp ;; esac
mount -t bpf bpf /sys/fs/bpf
mkdir -p /lib/modules
mount --bind "$HG_MODULES" /lib/modules
# The classifier's kfuncs are in nf_conntrack: a program that calls them loads only when it is there.
modprobe -a virtio_console nf_conntrack tun
ip link set lo up
until [ -e /dev/vport*p1 ]; do sleep 0.1; done
export HG_REPORTS=$(echo /dev/vport*p1)

cd "$HG_CLONE" || echo "no $HG_CLONE"
# To open a file of the host's is three messages to it, and most of what tests do is to start programs: those, and what they
# load, are copied into memory (into the upper layer of the root, by the touch).
paths=$(which conntrack ip modprobe nft nsenter ping setpriv sh sysctl tc unshare)
{ echo "$paths"; ldd $paths "$HG_NODE" | grep -o '/[^ :]*'; find dist native-shim/build -type f; } |
	sort -u | xargs touch -c "$HG_NODE" /etc/ld.so.cache

printf %s "$HG_ARGS" | base64 -d |
	xargs -0 "$HG_NODE" node_modules/vitest/vitest.mjs run --config test/vm/guest/vitest.config.ts
echo "{\"kind\":\"exit\",\"status\":$?}" > "$HG_REPORTS"
sync
echo o > /proc/sysrq-trigger
sleep 60
