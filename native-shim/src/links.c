// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "source.h"

#define ATTEMPTS 4 /* tellings in a row that the kernel may call interrupted */

/* False where the address has another length than its family's. */
static bool read_address(struct hg_link *out, const struct nlattr *attr)
{
	size_t size = out->family == AF_INET ? 4 : 16;

	if (!attr || mnl_attr_get_payload_len(attr) != size)
		return false;
	memcpy(out->address, mnl_attr_get_payload(attr), size);
	return true;
}

static bool parse_link(struct hg_link *out, const struct nlmsghdr *message)
{
	const struct nlattr *attrs[IFLA_MTU + 1];
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
	size_t length = mnl_nlmsg_get_payload_len(message);

	if (length < sizeof(*info))
		return false;
	/* A port that leaves its bridge is an RTM_DELLINK too, of family AF_BRIDGE: the device is still there. */
	if (info->ifi_family != AF_UNSPEC)
		return false;
	hg_attrs(attrs, IFLA_MTU, info + 1, length - sizeof(*info));
	out->ifindex = (uint32_t)info->ifi_index;
	out->flags = info->ifi_flags;
	out->type = info->ifi_type;
	out->mtu = hg_attr_u32(attrs[IFLA_MTU]);
	hg_attr_text(out->name, sizeof(out->name) - 1, attrs[IFLA_IFNAME]);
	return true;
}

static bool parse_address(struct hg_link *out, const struct nlmsghdr *message)
{
	const struct nlattr *attrs[IFA_FLAGS + 1];
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(message);
	size_t length = mnl_nlmsg_get_payload_len(message);

	if (length < sizeof(*info) || (info->ifa_family != AF_INET && info->ifa_family != AF_INET6))
		return false;
	hg_attrs(attrs, IFA_FLAGS, info + 1, length - sizeof(*info));
	out->ifindex = info->ifa_index;
	out->family = info->ifa_family;
	out->prefix_length = info->ifa_prefixlen;
	out->flags = attrs[IFA_FLAGS] ? hg_attr_u32(attrs[IFA_FLAGS]) : info->ifa_flags;
	/* On a point-to-point link IFA_ADDRESS is the peer's. */
	return read_address(out, attrs[IFA_LOCAL] ? attrs[IFA_LOCAL] : attrs[IFA_ADDRESS]);
}

static bool parse_route(struct hg_link *out, const struct nlmsghdr *message)
{
	const struct nlattr *attrs[RTA_TABLE + 1];
	const struct rtmsg *info = mnl_nlmsg_get_payload(message);
	size_t length = mnl_nlmsg_get_payload_len(message);

	if (length < sizeof(*info) || (info->rtm_family != AF_INET && info->rtm_family != AF_INET6) ||
	    info->rtm_type != RTN_UNICAST || (info->rtm_flags & RTM_F_CLONED))
		return false;
	hg_attrs(attrs, RTA_TABLE, info + 1, length - sizeof(*info));
	out->table = attrs[RTA_TABLE] ? hg_attr_u32(attrs[RTA_TABLE]) : info->rtm_table;
	if (out->table != RT_TABLE_MAIN)
		return false;
	out->family = info->rtm_family;
	out->prefix_length = info->rtm_dst_len;
	out->ifindex = hg_attr_u32(attrs[RTA_OIF]);
	return info->rtm_dst_len == 0 || read_address(out, attrs[RTA_DST]);
}

static bool parse_tc(struct hg_link *out, const struct nlmsghdr *message)
{
	const struct tcmsg *info = mnl_nlmsg_get_payload(message);

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*info))
		return false;
	out->ifindex = (uint32_t)info->tcm_ifindex;
	return true;
}

bool hg_link_parse(struct hg_link *link, const struct nlmsghdr *message)
{
	switch (message->nlmsg_type) {
	case RTM_NEWLINK:
		link->head.kind = HG_LINK;
		return parse_link(link, message);
	case RTM_DELLINK:
		link->head.kind = HG_LINK_GONE;
		return parse_link(link, message);
	case RTM_NEWADDR:
		link->head.kind = HG_ADDRESS;
		return parse_address(link, message);
	case RTM_DELADDR:
		link->head.kind = HG_ADDRESS_GONE;
		return parse_address(link, message);
	case RTM_NEWROUTE:
		link->head.kind = HG_ROUTE;
		return parse_route(link, message);
	case RTM_DELROUTE:
		link->head.kind = HG_ROUTE_GONE;
		return parse_route(link, message);
	case RTM_DELQDISC:
	case RTM_DELTCLASS:
	case RTM_DELTFILTER:
	case RTM_DELCHAIN:
		link->head.kind = HG_TC_GONE;
		return parse_tc(link, message);
	}
	return false;
}

/* One telling is three dumps, one after the other: a netlink socket runs one at a time. */
struct telling {
	uint32_t sequence; /* of the dump that runs; events have 0 */
	uint32_t step;	   /* index into QUESTIONS */
	uint32_t attempt;
	bool interrupted;
	bool again; /* messages were lost meanwhile: tell everything once more */
};

static const uint16_t QUESTIONS[] = { RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE };
#define STEPS (sizeof(QUESTIONS) / sizeof(QUESTIONS[0]))

static int ask(struct hg_source *source, struct telling *t)
{
	char buffer[64] __attribute__((aligned(8)));
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);

	/* Each of the three kernel headers begins with the family, zero for all, and is zero behind it. */
	mnl_nlmsg_put_extra_header(request, QUESTIONS[t->step] == RTM_GETLINK	? sizeof(struct ifinfomsg)
					    : QUESTIONS[t->step] == RTM_GETADDR ? sizeof(struct ifaddrmsg)
										: sizeof(struct rtmsg));
	request->nlmsg_type = QUESTIONS[t->step];
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = ++t->sequence;
	return hg_netlink_send(hg_source_fd(source), request);
}

static int tell(struct hg_source *source, struct telling *t)
{
	t->step = 0;
	t->interrupted = t->again = false;
	t->attempt++;
	hg_source_say(source, HG_DUMP_START, 0, t->attempt);
	return ask(source, t);
}

static int start(struct hg_source *source, void *state)
{
	return tell(source, state);
}

static int overrun(struct hg_source *source, void *state)
{
	struct telling *t = state;

	if (t->step < STEPS) {
		t->again = true;
		return 0;
	}
	t->attempt = 0;
	return tell(source, t);
}

static int step_done(struct hg_source *source, struct telling *t)
{
	if (++t->step < STEPS)
		return ask(source, t);
	if (t->again)
		t->attempt = 0;
	if (t->again || (t->interrupted && t->attempt < ATTEMPTS))
		return tell(source, t);
	hg_source_say(source, HG_DUMP_END, t->interrupted ? HG_F_INTERRUPTED : 0, t->attempt);
	return 0;
}

static int receive(struct hg_source *source, void *state, const void *datagram, size_t length)
{
	struct telling *t = state;
	const struct nlmsghdr *message = datagram;
	int left = (int)length;

	for (; hg_message_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
		bool ours = message->nlmsg_seq == t->sequence && t->step < STEPS;
		struct hg_link *link;

		if (ours && (message->nlmsg_flags & NLM_F_DUMP_INTR))
			t->interrupted = true;
		if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE) {
			int status = ours ? hg_netlink_status(message) : 0;

			if (ours && status == 0)
				status = step_done(source, t);
			if (status)
				return status;
			continue;
		}
		link = hg_source_put(source, 0);
		if (!link)
			return 0;
		if (hg_link_parse(link, message))
			hg_source_commit(source);
	}
	return 0;
}

static const struct hg_source_ops ops = {
	.record_size = sizeof(struct hg_link),
	.start = start,
	.receive = receive,
	.overrun = overrun,
};

HG_EXPORT struct hg_source *hg_links_open(const char *netns, uint32_t ring, struct hg_error *error)
{
	static const unsigned int groups[] = { RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
					       RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_TC };
	struct telling *t = calloc(1, sizeof(*t));
	int fd;

	if (!t) {
		hg_fail(error, ENOMEM, "malloc", NULL);
		return NULL;
	}
	fd = hg_netlink_open(netns, NETLINK_ROUTE, 0, error);
	for (size_t i = 0; fd >= 0 && i < sizeof(groups) / sizeof(groups[0]); i++) {
		if (hg_netlink_join(fd, groups[i], error)) {
			close(fd);
			fd = -1;
		}
	}
	if (fd < 0) {
		free(t);
		return NULL;
	}
	return hg_source_start(&ops, t, fd, ring, error);
}
