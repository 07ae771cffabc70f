// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <libnetfilter_log/libnetfilter_log.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "source.h"

#define COPY_BYTES 192	   /* an IPv6 header, some extension headers, a transport header */
#define FLUSH_CENTISECONDS 1 /* the kernel's default lets a lone packet wait for a second */
#define BUFFER_BYTES 16384

static uint16_t be16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void read_transport(struct hg_packet *p, const uint8_t *data, size_t length)
{
	switch (p->protocol) {
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (length < 8)
			return;
		p->head.flags |= HG_F_ICMP;
		p->tuple.icmp_type = data[0];
		p->tuple.icmp_code = data[1];
		p->tuple.icmp_id = be16(data + 4);
		return;
	case IPPROTO_TCP:
		if (length >= 14)
			p->tcp_flags = data[13];
		/* fall through */
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		if (length < 4)
			return;
		p->head.flags |= HG_F_PORTS;
		p->tuple.src_port = be16(data);
		p->tuple.dst_port = be16(data + 2);
	}
}

static size_t read_ipv4(struct hg_packet *p, const uint8_t *data, size_t length)
{
	size_t header;

	if (length < 20 || data[0] >> 4 != 4)
		return 0;
	header = (size_t)(data[0] & 15) * 4;
	p->family = AF_INET;
	p->dscp = data[1] >> 2;
	p->length = be16(data + 2);
	p->hop_limit = data[8];
	p->protocol = data[9];
	memcpy(p->tuple.src, data + 12, 4);
	memcpy(p->tuple.dst, data + 16, 4);
	if (be16(data + 6) & 0x1fff) {
		p->head.flags |= HG_F_FRAGMENT;
		return 0;
	}
	if (header < 20 || header > length)
		return 0;
	read_transport(p, data + header, length - header);
	return header;
}

/* Steps over extension headers (RFC 8200, section 4) as far as they are here; each is at least 8 bytes long, so
 * that COPY_BYTES bounds the loop. */
static size_t read_ipv6(struct hg_packet *p, const uint8_t *data, size_t length)
{
	size_t at = 40;

	if (length < 40 || data[0] >> 4 != 6)
		return 0;
	p->family = AF_INET6;
	p->dscp = (uint8_t)((data[0] & 15) << 2 | data[1] >> 6);
	p->length = 40u + be16(data + 4);
	p->protocol = data[6];
	p->hop_limit = data[7];
	memcpy(p->tuple.src, data + 8, 16);
	memcpy(p->tuple.dst, data + 24, 16);
	for (;;) {
		size_t size;

		switch (p->protocol) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
		case 135: /* mobility, RFC 6275 */
			if (length - at < 8)
				return 0;
			size = (data[at + 1] + 1u) * 8;
			break;
		case IPPROTO_FRAGMENT:
			if (length - at < 8)
				return 0;
			size = 8;
			if (be16(data + at + 2) & 0xfff8) {
				p->protocol = data[at];
				p->head.flags |= HG_F_FRAGMENT;
				return 0;
			}
			break;
		case IPPROTO_AH:
			if (length - at < 8)
				return 0;
			size = (data[at + 1] + 2u) * 4;
			break;
		default:
			read_transport(p, data + at, length - at);
			return at;
		}
		p->protocol = data[at];
		if (size > length - at)
			return 0;
		at += size;
	}
}

size_t hg_packet_read(struct hg_packet *packet, const uint8_t *data, size_t length)
{
	if (length == 0)
		return 0;
	packet->length = (uint32_t)length; /* until a header says better */
	if (data[0] >> 4 == 4)
		return read_ipv4(packet, data, length);
	if (data[0] >> 4 == 6)
		return read_ipv6(packet, data, length);
	return 0;
}

static void read_meta(struct hg_packet *p, const struct nlattr **attrs)
{
	const struct nfulnl_msg_packet_hw *hw = hg_attr(attrs[NFULA_HWADDR], sizeof(*hw));
	const struct nfulnl_msg_packet_timestamp *stamp = hg_attr(attrs[NFULA_TIMESTAMP], sizeof(*stamp));

	p->mark = ntohl(hg_attr_u32(attrs[NFULA_MARK]));
	if (attrs[NFULA_MARK])
		p->head.flags |= HG_F_MARK;
	p->in_ifindex = ntohl(hg_attr_u32(attrs[NFULA_IFINDEX_INDEV]));
	p->out_ifindex = ntohl(hg_attr_u32(attrs[NFULA_IFINDEX_OUTDEV]));
	if (hw && ntohs(hw->hw_addrlen) == 6) {
		p->head.flags |= HG_F_MAC;
		memcpy(p->mac, hw->hw_addr, 6);
	}
	if (stamp) {
		struct nfulnl_msg_packet_timestamp t;

		memcpy(&t, stamp, sizeof(t));
		p->head.time_ns = be64toh(t.sec) * 1000000000u + be64toh(t.usec) * 1000u;
	}
	hg_attr_text(p->prefix, sizeof(p->prefix), attrs[NFULA_PREFIX]);
}

bool hg_packet_parse(struct hg_packet *packet, const struct nlmsghdr *message)
{
	const struct nlattr *attrs[NFULA_MAX + 1];
	const struct nfulnl_msg_packet_hdr *header;
	const struct nfgenmsg *generic;

	if (message->nlmsg_len < NLMSG_HDRLEN + sizeof(*generic) ||
	    message->nlmsg_type != (NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET))
		return false;
	hg_attrs(attrs, NFULA_MAX, mnl_nlmsg_get_payload_offset(message, sizeof(*generic)),
		 mnl_nlmsg_get_payload_len(message) - sizeof(*generic));
	generic = mnl_nlmsg_get_payload(message);
	packet->head.kind = HG_PACKET;
	packet->group = ntohs(generic->res_id);
	header = hg_attr(attrs[NFULA_PACKET_HDR], sizeof(*header));
	if (header) {
		packet->ethertype = ntohs(header->hw_protocol);
		packet->hook = header->hook;
	}
	read_meta(packet, attrs);
	if (attrs[NFULA_PAYLOAD])
		hg_packet_read(packet, mnl_attr_get_payload(attrs[NFULA_PAYLOAD]),
			       mnl_attr_get_payload_len(attrs[NFULA_PAYLOAD]));
	return true;
}

static bool parse(void *record, const struct nlmsghdr *message)
{
	return hg_packet_parse(record, message);
}

static const struct hg_source_ops ops = { .record_size = sizeof(struct hg_packet), .parse = parse };

/* The kernel says EPERM to those without CAP_NET_ADMIN, and also where the group is another's. SO_RCVBUFFORCE wants
 * the same capability, and so tells which it was. */
static int refused(int fd, int status, struct hg_error *error)
{
	uint32_t bytes;
	socklen_t size = sizeof(bytes);

	if (status != -EPERM || getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, &size))
		return status;
	bytes /= 2; /* it reads back twice what was set */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		return status;
	return hg_fail(error, EBUSY, "bind the log group", "another program listens to it");
}

static int bind_log(int fd, uint16_t group, uint32_t copy_bytes, struct hg_error *error)
{
	char buffer[256] __attribute__((aligned(8)));
	struct nlmsghdr *request = nflog_nlmsg_put_header(buffer, NFULNL_MSG_CONFIG, AF_UNSPEC, group);
	int status;

	nflog_attr_put_cfg_cmd(request, NFULNL_CFG_CMD_BIND);
	status = hg_netlink_ask(fd, request, NULL, NULL, "bind the log group", error);
	if (status < 0)
		return refused(fd, status, error);
	request = nflog_nlmsg_put_header(buffer, NFULNL_MSG_CONFIG, AF_UNSPEC, group);
	nflog_attr_put_cfg_mode(request, NFULNL_COPY_PACKET, copy_bytes);
	mnl_attr_put_u32(request, NFULA_CFG_TIMEOUT, htonl(FLUSH_CENTISECONDS));
	mnl_attr_put_u32(request, NFULA_CFG_NLBUFSIZ, htonl(BUFFER_BYTES));
	return hg_netlink_ask(fd, request, NULL, NULL, "configure the log group", error);
}

int hg_log_open(const char *netns, uint16_t group, uint32_t copy_bytes, uint32_t receive_buffer, struct hg_error *error)
{
	int fd = hg_netlink_open(netns, NETLINK_NETFILTER, receive_buffer, error);
	int status = fd < 0 ? fd : bind_log(fd, group, copy_bytes, error);

	if (fd >= 0 && status < 0)
		close(fd);
	return status < 0 ? status : fd;
}

HG_EXPORT struct hg_source *hg_packets_open(const char *netns, uint16_t group, uint32_t receive_buffer, uint32_t ring,
					    struct hg_error *error)
{
	int fd = hg_log_open(netns, group, COPY_BYTES, receive_buffer, error);

	return fd < 0 ? NULL : hg_source_start(&ops, NULL, fd, ring, error);
}
