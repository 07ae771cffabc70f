// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "source.h"

int hg_conntrack_socket(const char *netns, uint32_t receive_buffer, struct hg_error *error)
{
	char buffer[64] __attribute__((aligned(8)));
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	int fd = hg_netlink_open(netns, NETLINK_NETFILTER, receive_buffer, error);
	int status;

	if (fd < 0)
		return fd;
	/* Asking loads nf_conntrack_netlink; joining a group only begins to, so that events could be missed. */
	request->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET_STATS;
	request->nlmsg_flags = NLM_F_REQUEST;
	mnl_nlmsg_put_extra_header(request, sizeof(struct nfgenmsg));
	status = hg_netlink_ask(fd, request, NULL, NULL, "ask for conntrack", error);
	if (status < 0) {
		close(fd);
		return status;
	}
	return fd;
}

static bool read_addresses(const struct nf_conntrack *ct, uint8_t family, bool reply, struct hg_tuple *tuple)
{
	bool v4 = family == AF_INET;
	size_t size = v4 ? 4 : 16;
	const void *src, *dst;

	if (reply) {
		src = nfct_get_attr(ct, v4 ? ATTR_REPL_IPV4_SRC : ATTR_REPL_IPV6_SRC);
		dst = nfct_get_attr(ct, v4 ? ATTR_REPL_IPV4_DST : ATTR_REPL_IPV6_DST);
	} else {
		src = nfct_get_attr(ct, v4 ? ATTR_ORIG_IPV4_SRC : ATTR_ORIG_IPV6_SRC);
		dst = nfct_get_attr(ct, v4 ? ATTR_ORIG_IPV4_DST : ATTR_ORIG_IPV6_DST);
	}
	if (!src || !dst)
		return false;
	memcpy(tuple->src, src, size);
	memcpy(tuple->dst, dst, size);
	return true;
}

static uint16_t read_port(const struct nf_conntrack *ct, enum nf_conntrack_attr attr)
{
	return nfct_attr_is_set(ct, attr) > 0 ? ntohs(nfct_get_attr_u16(ct, attr)) : 0;
}

/* libnetfilter_conntrack keeps type, code and id of the original direction alone. The reply's id differs from it
 * under masquerade, so read what the message says. */
static void read_reply_icmp(const struct nlmsghdr *message, struct hg_tuple *tuple)
{
	const struct nlattr *top[CTA_TUPLE_REPLY + 1], *inner[CTA_TUPLE_PROTO + 1], *proto[CTA_PROTO_MAX + 1];
	const struct nlattr *id, *type, *code;
	const void *field;

	hg_attrs(top, CTA_TUPLE_REPLY, mnl_nlmsg_get_payload_offset(message, sizeof(struct nfgenmsg)),
		 mnl_nlmsg_get_payload_len(message) - sizeof(struct nfgenmsg));
	if (!top[CTA_TUPLE_REPLY])
		return;
	hg_attrs(inner, CTA_TUPLE_PROTO, mnl_attr_get_payload(top[CTA_TUPLE_REPLY]),
		 mnl_attr_get_payload_len(top[CTA_TUPLE_REPLY]));
	if (!inner[CTA_TUPLE_PROTO])
		return;
	hg_attrs(proto, CTA_PROTO_MAX, mnl_attr_get_payload(inner[CTA_TUPLE_PROTO]),
		 mnl_attr_get_payload_len(inner[CTA_TUPLE_PROTO]));
	id = proto[CTA_PROTO_ICMP_ID] ? proto[CTA_PROTO_ICMP_ID] : proto[CTA_PROTO_ICMPV6_ID];
	type = proto[CTA_PROTO_ICMP_TYPE] ? proto[CTA_PROTO_ICMP_TYPE] : proto[CTA_PROTO_ICMPV6_TYPE];
	code = proto[CTA_PROTO_ICMP_CODE] ? proto[CTA_PROTO_ICMP_CODE] : proto[CTA_PROTO_ICMPV6_CODE];
	if ((field = hg_attr(id, sizeof(uint16_t)))) {
		uint16_t value;

		memcpy(&value, field, sizeof(value));
		tuple->icmp_id = ntohs(value);
	}
	if ((field = hg_attr(type, 1)))
		tuple->icmp_type = *(const uint8_t *)field;
	if ((field = hg_attr(code, 1)))
		tuple->icmp_code = *(const uint8_t *)field;
}

static void read_protocol(struct hg_flow *flow, const struct nf_conntrack *ct, const struct nlmsghdr *message)
{
	flow->protocol = nfct_get_attr_u8(ct, ATTR_ORIG_L4PROTO);
	if (nfct_attr_is_set(ct, ATTR_ICMP_TYPE) > 0) {
		flow->head.flags |= HG_F_ICMP;
		flow->original.icmp_type = nfct_get_attr_u8(ct, ATTR_ICMP_TYPE);
		flow->original.icmp_code = nfct_get_attr_u8(ct, ATTR_ICMP_CODE);
		flow->original.icmp_id = read_port(ct, ATTR_ICMP_ID);
		read_reply_icmp(message, &flow->reply);
	} else if (nfct_attr_is_set(ct, ATTR_ORIG_PORT_SRC) > 0) {
		/* The kernel gives GRE's keys in the place of ports: part of the identity, but no ports. */
		if (flow->protocol != IPPROTO_GRE)
			flow->head.flags |= HG_F_PORTS;
		flow->original.src_port = read_port(ct, ATTR_ORIG_PORT_SRC);
		flow->original.dst_port = read_port(ct, ATTR_ORIG_PORT_DST);
		flow->reply.src_port = read_port(ct, ATTR_REPL_PORT_SRC);
		flow->reply.dst_port = read_port(ct, ATTR_REPL_PORT_DST);
	}
}

static uint32_t read_u32(struct hg_flow *flow, const struct nf_conntrack *ct, enum nf_conntrack_attr attr, uint16_t flag)
{
	if (nfct_attr_is_set(ct, attr) <= 0)
		return 0;
	flow->head.flags |= flag;
	return nfct_get_attr_u32(ct, attr);
}

static uint64_t read_u64(struct hg_flow *flow, const struct nf_conntrack *ct, enum nf_conntrack_attr attr, uint16_t flag)
{
	if (nfct_attr_is_set(ct, attr) <= 0)
		return 0;
	flow->head.flags |= flag;
	return nfct_get_attr_u64(ct, attr);
}

static bool pack(struct hg_flow *flow, const struct nf_conntrack *ct, const struct nlmsghdr *message)
{
	if (nfct_attr_is_set(ct, ATTR_ORIG_L3PROTO) <= 0 || nfct_attr_is_set(ct, ATTR_ORIG_L4PROTO) <= 0)
		return false;
	flow->family = nfct_get_attr_u8(ct, ATTR_ORIG_L3PROTO);
	if (flow->family != AF_INET && flow->family != AF_INET6)
		return false;
	if (!read_addresses(ct, flow->family, false, &flow->original) ||
	    !read_addresses(ct, flow->family, true, &flow->reply))
		return false;
	read_protocol(flow, ct, message);
	flow->id = read_u32(flow, ct, ATTR_ID, 0);
	/* A zone that holds for one direction alone (nft `ct original zone set`) stands in that tuple. */
	flow->zone = nfct_get_attr_u16(ct, nfct_attr_is_set(ct, ATTR_ZONE) > 0 ? ATTR_ZONE : ATTR_ORIG_ZONE);
	flow->status = read_u32(flow, ct, ATTR_STATUS, HG_F_STATUS);
	flow->mark = read_u32(flow, ct, ATTR_MARK, HG_F_MARK);
	flow->timeout = read_u32(flow, ct, ATTR_TIMEOUT, HG_F_TIMEOUT);
	flow->start_ns = read_u64(flow, ct, ATTR_TIMESTAMP_START, HG_F_START);
	flow->stop_ns = read_u64(flow, ct, ATTR_TIMESTAMP_STOP, HG_F_STOP);
	flow->original_packets = read_u64(flow, ct, ATTR_ORIG_COUNTER_PACKETS, HG_F_COUNTERS);
	flow->original_bytes = read_u64(flow, ct, ATTR_ORIG_COUNTER_BYTES, HG_F_COUNTERS);
	flow->reply_packets = read_u64(flow, ct, ATTR_REPL_COUNTER_PACKETS, HG_F_COUNTERS);
	flow->reply_bytes = read_u64(flow, ct, ATTR_REPL_COUNTER_BYTES, HG_F_COUNTERS);
	if (nfct_attr_is_set(ct, ATTR_TCP_STATE) > 0) {
		flow->head.flags |= HG_F_TCP_STATE;
		flow->tcp_state = nfct_get_attr_u8(ct, ATTR_TCP_STATE);
	}
	return true;
}

static uint16_t kind_of(const struct nlmsghdr *message)
{
	if (message->nlmsg_len < NLMSG_HDRLEN + sizeof(struct nfgenmsg))
		return 0;
	if (message->nlmsg_type == (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE))
		return HG_DESTROY;
	if (message->nlmsg_type == (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW))
		return message->nlmsg_flags & NLM_F_CREATE ? HG_NEW : HG_UPDATE;
	return 0;
}

bool hg_flow_parse(struct hg_flow *flow, const struct nlmsghdr *message)
{
	char trimmed[HG_TRIM_BYTES] __attribute__((aligned(8)));
	uint16_t kind = kind_of(message);
	struct nf_conntrack *ct;
	bool whole;

	if (!kind || !hg_flow_trim(trimmed, message) || !(ct = nfct_new()))
		return false;
	message = (const struct nlmsghdr *)trimmed;
	if (!flow->head.kind)
		flow->head.kind = kind;
	whole = nfct_nlmsg_parse(message, ct) >= 0 && pack(flow, ct, message);
	nfct_destroy(ct);
	return whole;
}

static int receive(struct hg_source *source, void *state, const void *datagram, size_t length)
{
	const struct nlmsghdr *message = datagram;
	int left = (int)length;

	(void)state;
	for (; hg_message_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
		struct hg_flow *flow = hg_source_put(source, 0);

		if (!flow)
			return 0;
		if (hg_flow_parse(flow, message))
			hg_source_commit(source);
	}
	return 0;
}

const struct hg_source_ops hg_conntrack_ops = { .record_size = sizeof(struct hg_flow), .receive = receive };

HG_EXPORT struct hg_source *hg_conntrack_open(const char *netns, uint32_t groups, uint32_t receive_buffer,
					      uint32_t most_buffer, uint32_t ring, struct hg_error *error)
{
	static const struct {
		uint32_t wanted;
		unsigned int group;
	} table[] = {
		{ HG_GROUP_NEW, NFNLGRP_CONNTRACK_NEW },
		{ HG_GROUP_UPDATE, NFNLGRP_CONNTRACK_UPDATE },
		{ HG_GROUP_DESTROY, NFNLGRP_CONNTRACK_DESTROY },
	};
	struct hg_source *source;
	int fd = hg_conntrack_socket(netns, receive_buffer, error);

	if (fd < 0)
		return NULL;
	if ((groups & HG_NO_LOOPBACK) && hg_filter_loopback(fd, error)) {
		close(fd);
		return NULL;
	}
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if ((groups & table[i].wanted) && hg_netlink_join(fd, table[i].group, error)) {
			close(fd);
			return NULL;
		}
	}
	source = hg_source_start(&hg_conntrack_ops, NULL, fd, ring, error);
	if (source)
		hg_source_let_grow(source, most_buffer);
	return source;
}
