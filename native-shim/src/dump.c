// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <unistd.h>

#include "dump.h"

static int ask(struct hg_source *source, struct hg_dump *dump)
{
	char buffer[64] __attribute__((aligned(8)));
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *header;

	dump->attempt++;
	dump->interrupted = false;
	hg_source_say(source, HG_DUMP_START, 0, dump->attempt);
	request->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = dump->attempt;
	header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->nfgen_family = dump->family;
	if (dump->mask) {
		mnl_attr_put_u32(request, CTA_MARK, htonl(dump->mark));
		mnl_attr_put_u32(request, CTA_MARK_MASK, htonl(dump->mask));
	}
	if (dump->status) {
		mnl_attr_put_u32(request, CTA_STATUS, htonl(dump->status));
		mnl_attr_put_u32(request, CTA_STATUS_MASK, htonl(dump->status));
	}
	return hg_netlink_send(hg_source_fd(source), request);
}

static int start(struct hg_source *source, void *state)
{
	return ask(source, state);
}

static int done(struct hg_source *source, struct hg_dump *dump)
{
	if (dump->interrupted && dump->attempt < dump->attempts)
		return ask(source, dump);
	hg_source_say(source, HG_DUMP_END, dump->interrupted ? HG_F_INTERRUPTED : 0, dump->attempt);
	return HG_SOURCE_END;
}

static int receive(struct hg_source *source, void *state, const void *datagram, size_t length)
{
	struct hg_dump *dump = state;
	const struct nlmsghdr *message = datagram;
	int left = (int)length;

	for (; hg_message_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
		struct hg_flow *flow;

		if (message->nlmsg_seq != dump->attempt)
			continue;
		if (message->nlmsg_flags & NLM_F_DUMP_INTR)
			dump->interrupted = true;
		if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE) {
			int status = hg_netlink_status(message);

			return status ? status : done(source, dump);
		}
		flow = hg_source_put(source, HG_DUMPED);
		if (!flow)
			return 0;
		if (hg_flow_parse(flow, message))
			hg_source_commit(source);
	}
	return 0;
}

const struct hg_source_ops hg_dump_ops = {
	.record_size = sizeof(struct hg_flow),
	.start = start,
	.receive = receive,
};

HG_EXPORT struct hg_source *hg_conntrack_dump(const char *netns, uint8_t family, uint32_t mark, uint32_t mask,
					      uint32_t status, uint32_t attempts, uint32_t ring, struct hg_error *error)
{
	struct hg_dump *dump = calloc(1, sizeof(*dump));
	int fd;

	if (!dump) {
		hg_fail(error, ENOMEM, "malloc", NULL);
		return NULL;
	}
	*dump = (struct hg_dump){ .family = family, .mark = mark, .mask = mask, .status = status, .attempts = attempts };
	fd = hg_conntrack_socket(netns, 0, error);
	if (fd < 0) {
		free(dump);
		return NULL;
	}
	return hg_source_start(&hg_dump_ops, dump, fd, ring, error);
}
