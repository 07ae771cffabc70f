// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "source.h"

/* Elements come and go by the thousand; no others of these are made or removed but by hand. */
static bool is_loss(uint16_t type)
{
	if (type >> 8 != NFNL_SUBSYS_NFTABLES)
		return false;
	switch (type & 0xff) {
	case NFT_MSG_DELTABLE:
	case NFT_MSG_DELCHAIN:
	case NFT_MSG_DELRULE:
	case NFT_MSG_DELSET:
	case NFT_MSG_DELOBJ:
		return true;
	}
	return false;
}

bool hg_table_parse(struct hg_link *out, const struct nlmsghdr *message)
{
	/* The table's name has one number in all of them: NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, ... */
	const struct nlattr *attrs[NFTA_TABLE_NAME + 1];
	const struct nfgenmsg *info = mnl_nlmsg_get_payload(message);
	size_t length = mnl_nlmsg_get_payload_len(message);

	if (!is_loss(message->nlmsg_type) || length < sizeof(*info))
		return false;
	hg_attrs(attrs, NFTA_TABLE_NAME, info + 1, length - sizeof(*info));
	if (!attrs[NFTA_TABLE_NAME])
		return false;
	out->head.kind = HG_TABLE_GONE;
	out->family = info->nfgen_family;
	hg_attr_text(out->name, sizeof(out->name) - 1, attrs[NFTA_TABLE_NAME]);
	return true;
}

static bool parse(void *record, const struct nlmsghdr *message)
{
	return hg_table_parse(record, message);
}

static const struct hg_source_ops ops = { .record_size = sizeof(struct hg_link), .parse = parse };

HG_EXPORT struct hg_source *hg_tables_open(const char *netns, uint32_t ring, struct hg_error *error)
{
	int fd = hg_netlink_open(netns, NETLINK_NETFILTER, 0, error);

	if (fd < 0)
		return NULL;
	if (hg_netlink_join(fd, NFNLGRP_NFTABLES, error)) {
		close(fd);
		return NULL;
	}
	return hg_source_start(&ops, NULL, fd, ring, error);
}
