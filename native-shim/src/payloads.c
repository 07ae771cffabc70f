// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <libnetfilter_log/libnetfilter_log.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>
#include <string.h>

#include "source.h"

/* Headers of IPv6 with options, and of TCP, before what we want. */
#define COPY_BYTES (HG_PAYLOAD_BYTES + 192)

/* Length of the transport header at `data`; 0 where it is not whole, or none that we know. */
static size_t header_length(uint8_t protocol, const uint8_t *data, size_t length)
{
	size_t header;

	if (protocol == IPPROTO_UDP)
		return length >= 8 ? 8 : 0;
	if (protocol != IPPROTO_TCP || length < 20)
		return 0;
	header = (size_t)(data[12] >> 4) * 4;
	return header >= 20 && header <= length ? header : 0;
}

bool hg_payload_parse(struct hg_payload *payload, const struct nlmsghdr *message)
{
	const struct nlattr *attrs[NFULA_MAX + 1];
	const struct nfgenmsg *generic;
	struct hg_packet packet = { 0 };
	const uint8_t *data;
	size_t length, at, header;

	if (message->nlmsg_len < NLMSG_HDRLEN + sizeof(*generic) ||
	    message->nlmsg_type != (NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET))
		return false;
	hg_attrs(attrs, NFULA_MAX, mnl_nlmsg_get_payload_offset(message, sizeof(*generic)),
		 mnl_nlmsg_get_payload_len(message) - sizeof(*generic));
	if (!attrs[NFULA_PAYLOAD])
		return false;
	generic = mnl_nlmsg_get_payload(message);
	data = mnl_attr_get_payload(attrs[NFULA_PAYLOAD]);
	length = mnl_attr_get_payload_len(attrs[NFULA_PAYLOAD]);
	at = hg_packet_read(&packet, data, length);
	header = at ? header_length(packet.protocol, data + at, length - at) : 0;
	/* An Ethernet frame is padded: what IP says counts. */
	if (!header || packet.length <= at + header)
		return false;
	payload->head.kind = HG_PAYLOAD;
	payload->head.flags = packet.head.flags;
	payload->group = ntohs(generic->res_id);
	payload->family = packet.family;
	payload->protocol = packet.protocol;
	payload->tcp_flags = packet.tcp_flags;
	payload->tuple = packet.tuple;
	payload->size = packet.length - (uint32_t)(at + header);
	if (packet.protocol == IPPROTO_TCP) {
		memcpy(&payload->sequence, data + at + 4, sizeof(payload->sequence));
		payload->sequence = ntohl(payload->sequence);
	}
	length -= at + header;
	if (length > payload->size)
		length = payload->size;
	if (length > HG_PAYLOAD_BYTES)
		length = HG_PAYLOAD_BYTES;
	payload->length = (uint32_t)length;
	memcpy(payload->data, data + at + header, length);
	return true;
}

static bool parse(void *record, const struct nlmsghdr *message)
{
	return hg_payload_parse(record, message);
}

static const struct hg_source_ops ops = { .record_size = sizeof(struct hg_payload), .parse = parse };

HG_EXPORT struct hg_source *hg_payloads_open(const char *netns, uint16_t group, uint32_t receive_buffer, uint32_t ring,
					     struct hg_error *error)
{
	int fd = hg_log_open(netns, group, COPY_BYTES, receive_buffer, error);

	return fd < 0 ? NULL : hg_source_start(&ops, NULL, fd, ring, error);
}
