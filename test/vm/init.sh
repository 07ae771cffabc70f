#!/bin/busybox sh
# The initramfs: lays a tmpfs over the host's root, which stays as it is, and goes on there with guest.sh.
/bin/busybox mount -t proc proc /proc
for module in /modules/*; do /bin/busybox insmod "$module"; done
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144,cache=loose host /host
/bin/busybox mount -t tmpfs tmpfs /changes
/bin/busybox mkdir /changes/upper /changes/work
/bin/busybox mount -t overlay -o lowerdir=/host,upperdir=/changes/upper,workdir=/changes/work overlay /root
/bin/busybox umount /proc
exec /bin/busybox switch_root /root /bin/sh "$HG_CLONE/${HG_GUEST:-test/vm/guest.sh}"
