// SPDX-License-Identifier: MIT
#include <libnetfilter_log/libnetfilter_log.h>

#include "test.h"

static const uint8_t TCP_IN_IPV4[] = {
	0x45, 0xb8, 0x00, 0x28, 0x12, 0x34, 0x40, 0x00, 0x3f, 0x06, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
	0x9c, 0x40, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0,
};

/* Hop-by-hop options, a first fragment, then UDP. */
static const uint8_t UDP_IN_IPV6[] = {
	0x6b, 0x80, 0, 0, 0, 24, 0, 64, 0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
	0xfd, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
	44, 0, 1, 4, 0, 0, 0, 0,
	17, 0, 0, 1, 0, 0, 0, 9,
	0x00, 0x35, 0x30, 0x39, 0, 8, 0, 0,
};

static struct hg_packet read_all(const uint8_t *data, size_t length)
{
	uint8_t *copy = exactly(data, length);
	struct hg_packet p;

	memset(&p, 0, sizeof(p));
	hg_packet_read(&p, copy, length);
	free(copy);
	return p;
}

static void tcp_in_ipv4(void)
{
	struct hg_packet p = read_all(TCP_IN_IPV4, sizeof(TCP_IN_IPV4));

	CHECK(p.family == AF_INET && p.protocol == IPPROTO_TCP && p.dscp == 46 && p.hop_limit == 63 && p.length == 40);
	CHECK(p.head.flags == HG_F_PORTS && p.tuple.src_port == 40000 && p.tuple.dst_port == 443 && p.tcp_flags == 2);
	CHECK(p.tuple.src[3] == 1 && p.tuple.dst[3] == 2);
}

static void extension_headers(void)
{
	struct hg_packet p = read_all(UDP_IN_IPV6, sizeof(UDP_IN_IPV6));

	CHECK(p.family == AF_INET6 && p.protocol == IPPROTO_UDP && p.dscp == 46 && p.length == 64);
	CHECK(p.head.flags == HG_F_PORTS && p.tuple.src_port == 53 && p.tuple.dst_port == 12345);
}

static void later_fragments_have_no_ports(void)
{
	uint8_t v4[sizeof(TCP_IN_IPV4)], v6[sizeof(UDP_IN_IPV6)];
	struct hg_packet p;

	memcpy(v4, TCP_IN_IPV4, sizeof(v4));
	v4[7] = 8;
	p = read_all(v4, sizeof(v4));
	CHECK(p.head.flags == HG_F_FRAGMENT && p.protocol == IPPROTO_TCP && p.tuple.src_port == 0);
	memcpy(v6, UDP_IN_IPV6, sizeof(v6));
	v6[51] = 0x10;
	p = read_all(v6, sizeof(v6));
	CHECK(p.head.flags == HG_F_FRAGMENT && p.protocol == IPPROTO_UDP && p.tuple.src_port == 0);
}

static void cut_anywhere(void)
{
	for (size_t n = 0; n < sizeof(TCP_IN_IPV4); n++)
		CHECK(((read_all(TCP_IN_IPV4, n).head.flags & HG_F_PORTS) != 0) == (n >= 24));
	for (size_t n = 0; n < sizeof(UDP_IN_IPV6); n++)
		CHECK(((read_all(UDP_IN_IPV6, n).head.flags & HG_F_PORTS) != 0) == (n >= 60));
}

static void what_is_no_ip(void)
{
	static const uint8_t arp[] = { 0, 1, 8, 0, 6, 4, 0, 1 };
	struct hg_packet p = read_all(arp, sizeof(arp));

	CHECK(p.family == 0 && p.length == sizeof(arp) && p.head.flags == 0);
}

static void a_whole_message(void)
{
	char buffer[MESSAGE_BYTES] __attribute__((aligned(8)));
	struct nlmsghdr *m = nflog_nlmsg_put_header(buffer, NFULNL_MSG_PACKET, AF_INET, 9);
	struct nfulnl_msg_packet_hdr header = { .hw_protocol = htons(0x0800), .hook = 2 };
	struct nfulnl_msg_packet_hw hw = { .hw_addrlen = htons(6), .hw_addr = { 2, 0, 0, 0, 0, 7 } };
	struct nfulnl_msg_packet_timestamp stamp = { .sec = htobe64(1700000000), .usec = htobe64(5) };
	struct hg_packet p;

	mnl_attr_put(m, NFULA_PACKET_HDR, sizeof(header), &header);
	mnl_attr_put(m, NFULA_HWADDR, sizeof(hw), &hw);
	mnl_attr_put(m, NFULA_TIMESTAMP, sizeof(stamp), &stamp);
	mnl_attr_put_u32(m, NFULA_MARK, htonl(5));
	mnl_attr_put_u32(m, NFULA_IFINDEX_INDEV, htonl(3));
	mnl_attr_put_strz(m, NFULA_PREFIX, "a prefix that is long");
	mnl_attr_put(m, NFULA_PAYLOAD, sizeof(TCP_IN_IPV4), TCP_IN_IPV4);
	memset(&p, 0, sizeof(p));
	CHECK(hg_packet_parse(&p, m));
	CHECK(p.head.kind == HG_PACKET && p.head.flags == (HG_F_PORTS | HG_F_MARK | HG_F_MAC));
	CHECK(p.head.time_ns == 1700000000000005000ull);
	CHECK(p.group == 9 && p.hook == 2 && p.ethertype == 0x0800 && p.mark == 5 && p.in_ifindex == 3);
	CHECK(p.out_ifindex == 0 && p.mac[5] == 7 && memcmp(p.prefix, "a prefix", 8) == 0);
	CHECK(p.protocol == IPPROTO_TCP && p.tuple.dst_port == 443);
}

int main(void)
{
	RUN(tcp_in_ipv4);
	RUN(extension_headers);
	RUN(later_fragments_have_no_ports);
	RUN(cut_anywhere);
	RUN(what_is_no_ip);
	RUN(a_whole_message);
	return 0;
}
