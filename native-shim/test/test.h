/* SPDX-License-Identifier: MIT
 * What the C tests share: a check that tells where it failed, and messages as the kernel would send them. */
#ifndef HEADGATE_TEST_H
#define HEADGATE_TEST_H

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

#define CHECK(condition)                                                                   \
	do {                                                                               \
		if (!(condition)) {                                                        \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			exit(1);                                                           \
		}                                                                          \
	} while (0)

#define RUN(test)                              \
	do {                                   \
		test();                        \
		printf("ok %s\n", #test);      \
		fflush(stdout);                \
	} while (0)

#define MESSAGE_BYTES 1024

static inline double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A conntrack message as net/netfilter/nf_conntrack_netlink.c writes one. */
struct sample {
	uint16_t message, flags;
	uint8_t family, protocol;
	uint32_t id;
	uint8_t original_src[16], original_dst[16], reply_src[16], reply_dst[16];
	uint16_t original_ports[2], reply_ports[2];
	uint16_t original_icmp_id, reply_icmp_id;
	uint8_t icmp_type, reply_icmp_type, icmp_code;
	uint16_t zone;
};

static inline void put_tuple(struct nlmsghdr *m, uint16_t type, const struct sample *s, bool reply)
{
	struct nlattr *tuple = mnl_attr_nest_start(m, type), *part = mnl_attr_nest_start(m, CTA_TUPLE_IP);
	bool v4 = s->family == AF_INET, v6 = s->protocol == IPPROTO_ICMPV6;
	const uint16_t *ports = reply ? s->reply_ports : s->original_ports;

	mnl_attr_put(m, v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, v4 ? 4 : 16, reply ? s->reply_src : s->original_src);
	mnl_attr_put(m, v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, v4 ? 4 : 16, reply ? s->reply_dst : s->original_dst);
	mnl_attr_nest_end(m, part);
	part = mnl_attr_nest_start(m, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(m, CTA_PROTO_NUM, s->protocol);
	if (v6 || s->protocol == IPPROTO_ICMP) {
		mnl_attr_put_u16(m, v6 ? CTA_PROTO_ICMPV6_ID : CTA_PROTO_ICMP_ID,
				 htons(reply ? s->reply_icmp_id : s->original_icmp_id));
		mnl_attr_put_u8(m, v6 ? CTA_PROTO_ICMPV6_TYPE : CTA_PROTO_ICMP_TYPE,
				reply ? s->reply_icmp_type : s->icmp_type);
		mnl_attr_put_u8(m, v6 ? CTA_PROTO_ICMPV6_CODE : CTA_PROTO_ICMP_CODE, s->icmp_code);
	} else if (s->protocol == IPPROTO_TCP || s->protocol == IPPROTO_UDP) {
		mnl_attr_put_u16(m, CTA_PROTO_SRC_PORT, htons(ports[0]));
		mnl_attr_put_u16(m, CTA_PROTO_DST_PORT, htons(ports[1]));
	}
	mnl_attr_nest_end(m, part);
	mnl_attr_nest_end(m, tuple);
}

static inline void put_counters(struct nlmsghdr *m, uint16_t type, uint64_t packets, uint64_t bytes)
{
	struct nlattr *nest = mnl_attr_nest_start(m, type);

	mnl_attr_put_u64(m, CTA_COUNTERS_PACKETS, htobe64(packets));
	mnl_attr_put_u64(m, CTA_COUNTERS_BYTES, htobe64(bytes));
	mnl_attr_nest_end(m, nest);
}

/* `full`: with every attribute that we read, and some that we do not. */
static inline struct nlmsghdr *build_flow(void *buffer, const struct sample *s, bool full)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *header = mnl_nlmsg_put_extra_header(m, sizeof(*header));
	struct nlattr *nest, *inner;

	m->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | s->message);
	m->nlmsg_flags = s->flags;
	header->nfgen_family = s->family;
	put_tuple(m, CTA_TUPLE_ORIG, s, false);
	put_tuple(m, CTA_TUPLE_REPLY, s, true);
	mnl_attr_put_u32(m, CTA_ID, htonl(s->id));
	if (s->zone)
		mnl_attr_put_u16(m, CTA_ZONE, htons(s->zone));
	if (!full)
		return m;
	mnl_attr_put_u32(m, CTA_STATUS, htonl(0x18e));
	mnl_attr_put_u32(m, CTA_MARK, htonl(0x0300beef));
	mnl_attr_put_u32(m, CTA_TIMEOUT, htonl(431999));
	put_counters(m, CTA_COUNTERS_ORIG, 7, 1ull << 40);
	put_counters(m, CTA_COUNTERS_REPLY, 9, 3000);
	nest = mnl_attr_nest_start(m, CTA_TIMESTAMP);
	mnl_attr_put_u64(m, CTA_TIMESTAMP_START, htobe64(1700000000123456789ull));
	mnl_attr_put_u64(m, CTA_TIMESTAMP_STOP, htobe64(1700000001123456789ull));
	mnl_attr_nest_end(m, nest);
	nest = mnl_attr_nest_start(m, CTA_PROTOINFO);
	inner = mnl_attr_nest_start(m, CTA_PROTOINFO_TCP);
	mnl_attr_put_u8(m, CTA_PROTOINFO_TCP_STATE, 3);
	mnl_attr_nest_end(m, inner);
	mnl_attr_nest_end(m, nest);
	nest = mnl_attr_nest_start(m, CTA_HELP);
	mnl_attr_put_strz(m, CTA_HELP_NAME, "ftp");
	mnl_attr_nest_end(m, nest);
	mnl_attr_put(m, CTA_LABELS, 16, "0123456789abcdef");
	mnl_attr_put_u32(m, 200, 0xdeadbeef); /* an attribute of a kernel to come */
	return m;
}

static const struct sample TCP4 = {
	.message = IPCTNL_MSG_CT_NEW, .flags = NLM_F_CREATE | NLM_F_EXCL, .family = AF_INET, .protocol = IPPROTO_TCP,
	.id = 0xcafe, .original_src = { 192, 168, 1, 2 }, .original_dst = { 1, 1, 1, 1 },
	.reply_src = { 1, 1, 1, 1 }, .reply_dst = { 203, 0, 113, 5 }, .original_ports = { 40000, 443 },
	.reply_ports = { 443, 50000 }, .zone = 7,
};

static const struct sample ICMP6 = {
	.message = IPCTNL_MSG_CT_NEW, .family = AF_INET6, .protocol = IPPROTO_ICMPV6, .id = 1,
	.original_src = { 0xfd, 1 }, .original_dst = { 0xfd, 2 }, .reply_src = { 0xfd, 2 }, .reply_dst = { 0xfd, 3 },
	.icmp_type = 128, .reply_icmp_type = 129, .icmp_code = 5, .original_icmp_id = 0x1234, .reply_icmp_id = 0x4321,
};

/* A copy with not a byte behind it, so that AddressSanitizer sees every step too far. */
static inline void *exactly(const void *data, size_t length)
{
	void *copy = malloc(length ? length : 1);

	CHECK(copy);
	memcpy(copy, data, length);
	return copy;
}

#endif
