// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/gen_stats.h>
#include <linux/if_ether.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

#define ATTEMPTS 4 /* dumps in a row that the kernel may call interrupted */

#ifndef TCA_STATS_PKT64
#define TCA_STATS_PKT64 8
#endif

struct answer {
	uint32_t ifindex;
	struct hg_tc_stat *stats;
	uint32_t max, count;
};

static void read_stats(struct hg_tc_stat *stat, const struct nlattr *nested)
{
	const struct nlattr *attrs[TCA_STATS_PKT64 + 1];
	const void *basic, *packets, *queue;

	hg_attrs(attrs, TCA_STATS_PKT64, mnl_attr_get_payload(nested), mnl_attr_get_payload_len(nested));
	basic = hg_attr(attrs[TCA_STATS_BASIC], 12); /* without the struct's padding, as the kernel sends it */
	queue = hg_attr(attrs[TCA_STATS_QUEUE], sizeof(struct gnet_stats_queue));
	packets = hg_attr(attrs[TCA_STATS_PKT64], sizeof(uint64_t));
	if (basic) {
		struct gnet_stats_basic b;

		memcpy(&b, basic, 12);
		stat->bytes = b.bytes;
		stat->packets = b.packets;
	}
	if (packets)
		memcpy(&stat->packets, packets, sizeof(stat->packets));
	if (queue) {
		struct gnet_stats_queue q;

		memcpy(&q, queue, sizeof(q));
		stat->qlen = q.qlen;
		stat->backlog = q.backlog;
		stat->drops = q.drops;
		stat->overlimits = q.overlimits;
	}
}

/* tc(8)'s rate and ceil. The 64-bit attributes are there where 32 bits do not hold it (net/sched/sch_htb.c). */
static void read_htb(struct hg_tc_stat *stat, const struct nlattr *nested)
{
	const struct nlattr *attrs[TCA_HTB_CEIL64 + 1];
	const void *parameters, *wide;

	hg_attrs(attrs, TCA_HTB_CEIL64, mnl_attr_get_payload(nested), mnl_attr_get_payload_len(nested));
	parameters = hg_attr(attrs[TCA_HTB_PARMS], sizeof(struct tc_htb_opt));
	if (parameters) {
		struct tc_htb_opt htb;

		memcpy(&htb, parameters, sizeof(htb));
		stat->rate = htb.rate.rate;
		stat->ceil = htb.ceil.rate;
	}
	wide = hg_attr(attrs[TCA_HTB_RATE64], sizeof(uint64_t));
	if (wide)
		memcpy(&stat->rate, wide, sizeof(stat->rate));
	wide = hg_attr(attrs[TCA_HTB_CEIL64], sizeof(uint64_t));
	if (wide)
		memcpy(&stat->ceil, wide, sizeof(stat->ceil));
}

bool hg_tc_parse(struct hg_tc_stat *stat, uint32_t ifindex, const struct nlmsghdr *message)
{
	const struct nlattr *attrs[TCA_STATS2 + 1];
	const struct tcmsg *info = mnl_nlmsg_get_payload(message);
	size_t length = mnl_nlmsg_get_payload_len(message);

	if ((message->nlmsg_type != RTM_NEWQDISC && message->nlmsg_type != RTM_NEWTCLASS) || length < sizeof(*info) ||
	    (uint32_t)info->tcm_ifindex != ifindex)
		return false;
	memset(stat, 0, sizeof(*stat));
	hg_attrs(attrs, TCA_STATS2, info + 1, length - sizeof(*info));
	stat->handle = info->tcm_handle;
	stat->parent = info->tcm_parent;
	stat->is_class = message->nlmsg_type == RTM_NEWTCLASS;
	hg_attr_text(stat->kind, sizeof(stat->kind) - 1, attrs[TCA_KIND]);
	if (stat->is_class && attrs[TCA_OPTIONS] && strcmp(stat->kind, "htb") == 0)
		read_htb(stat, attrs[TCA_OPTIONS]);
	if (attrs[TCA_STATS2])
		read_stats(stat, attrs[TCA_STATS2]);
	return true;
}

static int take(const struct nlmsghdr *message, void *data)
{
	struct answer *answer = data;
	struct hg_tc_stat stat;

	if (!hg_tc_parse(&stat, answer->ifindex, message))
		return MNL_CB_OK;
	if (answer->count < answer->max)
		answer->stats[answer->count] = stat;
	answer->count++;
	return MNL_CB_OK;
}

static int ask(int fd, uint16_t type, struct answer *answer, struct hg_error *error)
{
	uint32_t before = answer->count;
	int status = 1;

	/* The last attempt counts, interrupted or not: these are numbers to look at. */
	for (int attempt = 0; status == 1 && attempt < ATTEMPTS; attempt++) {
		char buffer[64] __attribute__((aligned(8)));
		struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
		struct tcmsg *info = mnl_nlmsg_put_extra_header(request, sizeof(*info));

		answer->count = before;
		request->nlmsg_type = type;
		request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
		info->tcm_ifindex = (int)answer->ifindex;
		status = hg_netlink_ask(fd, request, take, answer,
					type == RTM_GETQDISC ? "list qdiscs" : "list classes", error);
	}
	return status < 0 ? status : 0;
}

HG_EXPORT int32_t hg_tc_stats(const char *netns, uint32_t ifindex, struct hg_tc_stat *stats, uint32_t max,
			      struct hg_error *error)
{
	struct answer answer = { .ifindex = ifindex, .stats = stats, .max = max };
	int fd = hg_netlink_open(netns, NETLINK_ROUTE, 0, error);
	int status;

	if (fd < 0)
		return fd;
	status = ask(fd, RTM_GETQDISC, &answer, error);
	if (status == 0)
		status = ask(fd, RTM_GETTCLASS, &answer, error);
	close(fd);
	return status < 0 ? status : (int32_t)answer.count;
}

HG_EXPORT int32_t hg_filter_del(const char *netns, uint32_t ifindex, uint16_t pref, const char *kind, uint32_t handle,
				struct hg_error *error)
{
	char buffer[128] __attribute__((aligned(8)));
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct tcmsg *info = mnl_nlmsg_put_extra_header(request, sizeof(*info));
	int fd = hg_netlink_open(netns, NETLINK_ROUTE, 0, error);
	int status;

	if (fd < 0)
		return fd;
	request->nlmsg_type = RTM_DELTFILTER;
	request->nlmsg_flags = NLM_F_REQUEST;
	info->tcm_ifindex = (int)ifindex;
	info->tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
	info->tcm_info = TC_H_MAKE((uint32_t)pref << 16, htons(ETH_P_ALL));
	info->tcm_handle = handle;
	if (!mnl_attr_put_strz_check(request, sizeof(buffer), TCA_KIND, kind))
		status = -EINVAL;
	else
		status = hg_netlink_ask(fd, request, NULL, NULL, "remove a filter", error);
	close(fd);
	return status;
}
