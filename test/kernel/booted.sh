#!/bin/sh
# A small machine for booted.ts: systemd as process 1 of namespaces of its own, in a cgroup of its own, with /etc, /dev, /run,
# /tmp and units that nobody else has. `booted.sh boot FOLDER CLONE NODE` does not return; `booted.sh clear FOLDER` ends
# what is left in the cgroup, and removes it. FOLDER/etc goes over /etc, FOLDER/units are all the units there are.
set -e
folder=$2
hierarchy=$folder/cgroup
group=$hierarchy/$(basename "$folder")

case $1 in
boot)
	exec unshare --mount sh "$0" join "$folder" "$3" "$4"
	;;
join)
	mkdir "$hierarchy"
	mount -t cgroup2 cgroup2 "$hierarchy"
	mkdir "$group"
	echo $$ > "$group/cgroup.procs"
	exec unshare --mount --pid --cgroup --uts --ipc --fork --kill-child sh "$0" init "$folder" "$3" "$4"
	;;
init)
	mount -t proc proc /proc
	# systemd would set limits that are the whole machine's.
	mount --bind /proc/sys /proc/sys
	mount -o remount,bind,ro /proc/sys
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	mount -t bpf bpf /sys/fs/bpf
	mount -t tmpfs tmpfs /opt
	# Where the unit looks for them, wherever they are.
	mkdir /opt/headgate /opt/units /opt/etc /opt/dev /opt/dev/shm /opt/dev/mqueue
	mount --bind "$3" /opt/headgate
	touch /opt/node
	mount --bind "$4" /opt/node
	cp "$folder"/units/* /opt/units
	cp -a /etc/. /opt/etc
	cp -a "$folder"/etc/. /opt/etc
	mount --bind /opt/etc /etc
	for device in null zero full random urandom tty; do
		touch /opt/dev/$device
		mount --bind /dev/$device /opt/dev/$device
	done
	ln -s pts/ptmx /opt/dev/ptmx
	mount --rbind /opt/dev /dev
	mount -t tmpfs tmpfs /run
	mount -t tmpfs tmpfs /tmp
	systemd-sysusers
	exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=headgate SYSTEMD_UNIT_PATH=/opt/units \
		/lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=no
	;;
clear)
	exec unshare --mount sh "$0" remove "$folder"
	;;
remove)
	mount -t cgroup2 cgroup2 "$hierarchy"
	echo 1 > "$group/cgroup.kill"
	until find "$group" -depth -type d -exec rmdir {} + 2>/dev/null; do sleep 0.1; done
	;;
esac
