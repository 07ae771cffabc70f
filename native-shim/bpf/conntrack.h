/* SPDX-License-Identifier: MIT
 *
 * The kernel's conntrack table as a BPF program reaches it: bpf_skb_ct_lookup(), net/netfilter/nf_conntrack_bpf.c,
 * Linux 5.18 and later. It knows TCP and UDP alone (others: -EPROTO), and the zone 0.
 *
 * There is no vmlinux.h here: the types are stubs, relocated at load, so that one object serves every kernel.
 */
#ifndef HEADGATE_CONNTRACK_H
#define HEADGATE_CONNTRACK_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "packet.h"

struct nf_conn {
	__u32 mark;
} __attribute__((preserve_access_index));

/* Linux 6.8 appended zone fields and still takes these 12 bytes; 6.1 refuses 16. */
struct bpf_ct_opts {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
	__u8 reserved[2];
};

#define CONNTRACK_REPLY 1 /* IP_CT_DIR_REPLY, linux/netfilter/nf_conntrack_tuple_common.h */

extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 tuple_size,
					 struct bpf_ct_opts *opts, __u32 opts_size) __ksym;
extern void bpf_ct_release(struct nf_conn *ct) __ksym;

struct ports {
	__be16 source;
	__be16 destination;
};

struct conntrack_entry {
	bool found;
	bool reply; /* the packet runs against the direction of the connection's first */
	__u32 mark;
};

/*
 * Looks up the flow of a packet. A leaving packet's tuple is inverted first, so that `reply` means the same for both
 * ways of a connection: that it was opened from this side. With NAT the arriving tuple is the one on the wire, which
 * is the entry's reply tuple (masquerade) or its original one (port forwarding).
 */
static __always_inline struct conntrack_entry conntrack_look_up(struct __sk_buff *skb, const struct ip_header *ip,
								struct ports ports, bool leaving)
{
	struct bpf_ct_opts opts = { .netns_id = BPF_F_CURRENT_NETNS, .l4proto = ip->protocol };
	const __be32 *source = leaving ? ip->destination : ip->source;
	const __be32 *destination = leaving ? ip->source : ip->destination;
	__be16 source_port = leaving ? ports.destination : ports.source;
	__be16 destination_port = leaving ? ports.source : ports.destination;
	struct conntrack_entry entry = {};
	struct bpf_sock_tuple tuple = {};
	struct nf_conn *ct;

	if (ip->family == 4) {
		tuple.ipv4.saddr = source[0];
		tuple.ipv4.daddr = destination[0];
		tuple.ipv4.sport = source_port;
		tuple.ipv4.dport = destination_port;
		ct = bpf_skb_ct_lookup(skb, &tuple, sizeof(tuple.ipv4), &opts, sizeof(opts));
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, source, sizeof(tuple.ipv6.saddr));
		__builtin_memcpy(tuple.ipv6.daddr, destination, sizeof(tuple.ipv6.daddr));
		tuple.ipv6.sport = source_port;
		tuple.ipv6.dport = destination_port;
		ct = bpf_skb_ct_lookup(skb, &tuple, sizeof(tuple.ipv6), &opts, sizeof(opts));
	}
	if (!ct)
		return entry;
	entry.found = true;
	entry.mark = ct->mark;
	entry.reply = opts.dir == CONNTRACK_REPLY;
	bpf_ct_release(ct);
	return entry;
}

#endif
