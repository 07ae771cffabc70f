/* SPDX-License-Identifier: MIT
 *
 * What became of a datagram's first fragment, for those behind it: they have no ports.
 */
#ifndef HEADGATE_FRAGMENT_H
#define HEADGATE_FRAGMENT_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "packet.h"

#define FRAGMENTS_MAX 4096 /* datagrams remembered; the least recently used is forgotten first */
/*
 * How long a first fragment speaks for the others. Ids come round again (IPv4 has 65,536), so an old verdict must not
 * stay: 5 s lets the largest datagram pass a link of 105 kbit/s. A new first fragment replaces it at any time.
 */
#define FRAGMENT_LIFE_NS 5000000000ULL

/* An outcome of enum steer_verdict, and the class that goes with it; minor 0: none, the packet is left alone. */
struct verdict {
	__u32 outcome;
	__u32 minor;
};

/* What reassembly goes by: RFC 791 (with the protocol), RFC 8200 section 4.5 (without). */
struct fragment_key {
	__be32 source[4];
	__be32 destination[4];
	__be32 id;
	__u16 family;
	__u16 protocol;
};

struct fragment_value {
	struct verdict verdict;
	__u64 until_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FRAGMENTS_MAX);
	__type(key, struct fragment_key);
	__type(value, struct fragment_value);
} fragments SEC(".maps");

static __always_inline void fragment_key_of(const struct ip_header *ip, struct fragment_key *key)
{
	__builtin_memcpy(key->source, ip->source, sizeof(key->source));
	__builtin_memcpy(key->destination, ip->destination, sizeof(key->destination));
	key->id = ip->fragment_id;
	key->family = ip->family;
	key->protocol = ip->family == 4 ? ip->protocol : 0;
}

static __always_inline void fragment_remember(const struct ip_header *ip, struct verdict verdict)
{
	struct fragment_value value = { .verdict = verdict, .until_ns = bpf_ktime_get_ns() + FRAGMENT_LIFE_NS };
	struct fragment_key key;

	fragment_key_of(ip, &key);
	bpf_map_update_elem(&fragments, &key, &value, BPF_ANY);
}

static __always_inline bool fragment_recall(const struct ip_header *ip, struct verdict *verdict)
{
	const struct fragment_value *value;
	struct fragment_key key;

	fragment_key_of(ip, &key);
	value = bpf_map_lookup_elem(&fragments, &key);
	if (!value || bpf_ktime_get_ns() >= value->until_ns)
		return false;
	*verdict = value->verdict;
	return true;
}

#endif
