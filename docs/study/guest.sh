#!/bin/sh
# Process 1 of the study's guest (run.mjs boots it, test/vm/init.sh leads here). All that the study runs is copied to
# memory first: whenever the guest waited for a file of the host, its virtual time would leap ahead.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t tmpfs tmpfs /run
mkdir -p /lib/modules
mount --bind "$HG_MODULES" /lib/modules
mount -t proc proc /proc
modprobe ifb numifbs=0
modprobe -a veth act_mirred act_police sch_htb sch_ingress sch_netem sch_tbf sch_fq_codel sch_sfq cls_matchall nf_tables nft_limit

study=$HG_CLONE/docs/study
ram=/run/ram
mkdir $ram
mount -t tmpfs tmpfs $ram
mkdir -p $ram/proc $ram/sys $ram/dev $ram/run $ram/tmp
cp --parents -L $(for program in $(which node tc ip nft nsenter sysctl chrt) "$study/load"; do
	echo "$program"
	ldd "$program" | grep -o '/[^ ]*'
done | sort -u) $ram
cp -r --parents /etc/iproute2 /etc/ld.so.cache "$study/guest.mjs" "$study/matrix.mjs" $ram
mount -t tmpfs tmpfs $ram/run
mount -t proc proc $ram/proc
mount -t sysfs sysfs $ram/sys
mount -t devtmpfs dev $ram/dev
echo "kernel $(uname -r)"
chroot $ram "$(which node)" "$study/guest.mjs" $(echo "$HG_ARGS" | tr : ' ')
echo o >/proc/sysrq-trigger
sleep 1000000
