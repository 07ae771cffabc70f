// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "dump.h"
#include "event-ring.h"

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

static uint64_t read_u64(const struct nlattr *attr)
{
	const void *value = hg_attr(attr, sizeof(uint64_t));
	uint64_t number = 0;

	if (value)
		memcpy(&number, value, sizeof(number));
	return be64toh(number);
}

static uint32_t read_u32(struct hg_flow *flow, const struct nlattr *attr, uint16_t flag)
{
	if (hg_attr(attr, sizeof(uint32_t)))
		flow->head.flags |= flag;
	return ntohl(hg_attr_u32(attr));
}

static uint16_t read_u16(const struct nlattr *attr)
{
	const void *value = hg_attr(attr, sizeof(uint16_t));
	uint16_t number = 0;

	if (value)
		memcpy(&number, value, sizeof(number));
	return ntohs(number);
}

static uint8_t read_u8(const struct nlattr *attr)
{
	const uint8_t *value = hg_attr(attr, 1);

	return value ? *value : 0;
}

/* Sorts what is nested in an attribute, which may be NULL. */
static void nested(const struct nlattr **table, uint16_t max, const struct nlattr *attr)
{
	hg_attrs(table, max, hg_attr(attr, 0), attr ? attr->nla_len - (size_t)NLA_HDRLEN : 0);
}

static bool read_addresses(uint8_t family, const struct nlattr *attr, struct hg_tuple *tuple)
{
	const struct nlattr *ip[CTA_IP_MAX + 1];
	bool v4 = family == AF_INET;
	size_t size = v4 ? 4 : 16;
	const void *src, *dst;

	nested(ip, CTA_IP_MAX, attr);
	src = hg_attr(ip[v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC], size);
	dst = hg_attr(ip[v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST], size);
	if (!src || !dst)
		return false;
	memcpy(tuple->src, src, size);
	memcpy(tuple->dst, dst, size);
	return true;
}

/* What follows the addresses: nf_ct_port_tuple_to_nlattr() and its like for ICMP, in net/netfilter/. */
static void read_protocol(struct hg_flow *flow, const struct nlattr **proto, struct hg_tuple *tuple)
{
	bool v6 = flow->protocol == IPPROTO_ICMPV6;

	switch (flow->protocol) {
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		flow->head.flags |= HG_F_ICMP;
		tuple->icmp_type = read_u8(proto[v6 ? CTA_PROTO_ICMPV6_TYPE : CTA_PROTO_ICMP_TYPE]);
		tuple->icmp_code = read_u8(proto[v6 ? CTA_PROTO_ICMPV6_CODE : CTA_PROTO_ICMP_CODE]);
		tuple->icmp_id = read_u16(proto[v6 ? CTA_PROTO_ICMPV6_ID : CTA_PROTO_ICMP_ID]);
		break;
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		flow->head.flags |= HG_F_PORTS;
		/* fall through */
	case IPPROTO_GRE: /* its keys stand in the place of ports: part of the identity, but no ports */
		tuple->src_port = read_u16(proto[CTA_PROTO_SRC_PORT]);
		tuple->dst_port = read_u16(proto[CTA_PROTO_DST_PORT]);
	}
}

static bool read_tuple(struct hg_flow *flow, const struct nlattr *attr, struct hg_tuple *tuple)
{
	const struct nlattr *parts[CTA_TUPLE_MAX + 1], *proto[CTA_PROTO_MAX + 1];

	nested(parts, CTA_TUPLE_MAX, attr);
	nested(proto, CTA_PROTO_MAX, parts[CTA_TUPLE_PROTO]);
	if (!read_addresses(flow->family, parts[CTA_TUPLE_IP], tuple) || !hg_attr(proto[CTA_PROTO_NUM], 1))
		return false;
	if (tuple == &flow->original) {
		flow->protocol = read_u8(proto[CTA_PROTO_NUM]);
		/* One that holds for one direction alone (nft `ct original zone set`) stands in that tuple. */
		flow->zone = read_u16(parts[CTA_TUPLE_ZONE]);
	}
	read_protocol(flow, proto, tuple);
	return true;
}

static void read_counters(struct hg_flow *flow, const struct nlattr *attr, uint64_t *packets, uint64_t *bytes)
{
	const struct nlattr *counters[CTA_COUNTERS_MAX + 1];

	if (!attr)
		return;
	flow->head.flags |= HG_F_COUNTERS;
	nested(counters, CTA_COUNTERS_MAX, attr);
	*packets = read_u64(counters[CTA_COUNTERS_PACKETS]);
	*bytes = read_u64(counters[CTA_COUNTERS_BYTES]);
}

static void read_times(struct hg_flow *flow, const struct nlattr *attr)
{
	const struct nlattr *times[CTA_TIMESTAMP_MAX + 1];

	nested(times, CTA_TIMESTAMP_MAX, attr);
	flow->start_ns = read_u64(times[CTA_TIMESTAMP_START]);
	flow->stop_ns = read_u64(times[CTA_TIMESTAMP_STOP]);
	flow->head.flags |= (times[CTA_TIMESTAMP_START] ? HG_F_START : 0) | (times[CTA_TIMESTAMP_STOP] ? HG_F_STOP : 0);
}

static void read_tcp_state(struct hg_flow *flow, const struct nlattr *attr)
{
	const struct nlattr *protocols[CTA_PROTOINFO_MAX + 1], *tcp[CTA_PROTOINFO_TCP_MAX + 1];

	nested(protocols, CTA_PROTOINFO_MAX, attr);
	nested(tcp, CTA_PROTOINFO_TCP_MAX, protocols[CTA_PROTOINFO_TCP]);
	if (!hg_attr(tcp[CTA_PROTOINFO_TCP_STATE], 1))
		return;
	flow->head.flags |= HG_F_TCP_STATE;
	flow->tcp_state = read_u8(tcp[CTA_PROTOINFO_TCP_STATE]);
}

/* ctnetlink_dump_helpinfo(): in the event of a new flow, and in dumps. */
static void read_helper(struct hg_flow *flow, const struct nlattr *attr)
{
	const struct nlattr *help[CTA_HELP_MAX + 1];

	if (!attr)
		return;
	nested(help, CTA_HELP_MAX, attr);
	if (help[CTA_HELP_NAME])
		flow->head.flags |= HG_F_HELPER;
	hg_attr_text(flow->helper, sizeof(flow->helper), help[CTA_HELP_NAME]);
}

/* Attributes as ctnetlink_fill_info() in net/netfilter/nf_conntrack_netlink.c puts them. */
static bool pack(struct hg_flow *flow, const struct nlmsghdr *message)
{
	const struct nfgenmsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attrs[CTA_MAX + 1];

	flow->family = header->nfgen_family;
	if (flow->family != AF_INET && flow->family != AF_INET6)
		return false;
	hg_attrs(attrs, CTA_MAX, mnl_nlmsg_get_payload_offset(message, sizeof(*header)),
		 mnl_nlmsg_get_payload_len(message) - sizeof(*header));
	if (!read_tuple(flow, attrs[CTA_TUPLE_ORIG], &flow->original) ||
	    !read_tuple(flow, attrs[CTA_TUPLE_REPLY], &flow->reply))
		return false;
	if (attrs[CTA_ZONE])
		flow->zone = read_u16(attrs[CTA_ZONE]);
	flow->id = read_u32(flow, attrs[CTA_ID], 0);
	flow->status = read_u32(flow, attrs[CTA_STATUS], HG_F_STATUS);
	flow->mark = read_u32(flow, attrs[CTA_MARK], HG_F_MARK);
	flow->timeout = read_u32(flow, attrs[CTA_TIMEOUT], HG_F_TIMEOUT);
	read_times(flow, attrs[CTA_TIMESTAMP]);
	read_counters(flow, attrs[CTA_COUNTERS_ORIG], &flow->original_packets, &flow->original_bytes);
	read_counters(flow, attrs[CTA_COUNTERS_REPLY], &flow->reply_packets, &flow->reply_bytes);
	read_tcp_state(flow, attrs[CTA_PROTOINFO]);
	read_helper(flow, attrs[CTA_HELP]);
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
	uint16_t kind = kind_of(message);

	if (!kind)
		return false;
	if (!flow->head.kind)
		flow->head.kind = kind;
	return pack(flow, message);
}

static bool parse(void *record, const struct nlmsghdr *message)
{
	return hg_flow_parse(record, message);
}

const struct hg_source_ops hg_conntrack_ops = { .record_size = sizeof(struct hg_flow), .parse = parse };

HG_EXPORT struct hg_source *hg_conntrack_open(const char *netns, uint32_t groups, uint32_t receive_buffer,
					      uint32_t most_buffer, const char *copier, uint32_t ring,
					      struct hg_error *error)
{
	static const struct {
		uint32_t wanted;
		unsigned int group;
	} table[] = {
		{ HG_GROUP_NEW, NFNLGRP_CONNTRACK_NEW },
		{ HG_GROUP_UPDATE, NFNLGRP_CONNTRACK_UPDATE },
		{ HG_GROUP_DESTROY, NFNLGRP_CONNTRACK_DESTROY },
	};
	bool no_loopback = groups & HG_NO_LOOPBACK;
	struct hg_source *source;
	struct hg_feed *feed;
	int fd = hg_conntrack_socket(netns, receive_buffer, error);
	int status = 0;

	if (fd < 0)
		return NULL;
	feed = copier ? hg_event_ring_open(fd, copier, receive_buffer, most_buffer, no_loopback) : NULL;
	if (!feed && no_loopback)
		status = hg_filter_loopback(fd, error);
	for (size_t i = 0; status == 0 && i < sizeof(table) / sizeof(table[0]); i++)
		if (groups & table[i].wanted)
			status = hg_netlink_join(fd, table[i].group, error);
	if (status) {
		if (feed)
			feed->close(feed);
		close(fd);
		return NULL;
	}
	source = hg_source_start_fed(&hg_conntrack_ops, NULL, fd, feed, ring, error);
	if (source)
		hg_source_let_grow(source, most_buffer);
	return source;
}
