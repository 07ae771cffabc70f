// SPDX-License-Identifier: MIT
#include <libnetfilter_log/libnetfilter_log.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>

#include "test.h"

/* UDP from port 53, four bytes, and two more that pad the frame. */
static const uint8_t UDP[] = {
	0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 2, 10, 0, 0, 2,
	0, 53, 0x30, 0x39, 0, 12, 0, 0, 'd', 'a', 't', 'a', 0, 0,
};

/* TCP with four bytes of options, sequence number 0x01020304, three bytes. */
static const uint8_t TCP[] = {
	0x45, 0, 0, 47, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 2, 10, 0, 0, 2,
	0, 53, 0x30, 0x39, 1, 2, 3, 4, 0, 0, 0, 0, 0x60, 0x18, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 'a', 'b', 'c',
};

static bool parse(struct hg_payload *payload, const uint8_t *packet, size_t length)
{
	char buffer[MESSAGE_BYTES] __attribute__((aligned(8)));
	struct nlmsghdr *m = nflog_nlmsg_put_header(buffer, NFULNL_MSG_PACKET, AF_INET, 9);
	uint8_t *exact;
	bool good;

	mnl_attr_put(m, NFULA_PAYLOAD, length, packet);
	exact = exactly(m, m->nlmsg_len);
	memset(payload, 0, sizeof(*payload));
	good = hg_payload_parse(payload, (void *)exact);
	free(exact);
	return good;
}

static void udp_without_its_padding(void)
{
	struct hg_payload p;

	CHECK(parse(&p, UDP, sizeof(UDP)));
	CHECK(p.head.kind == HG_PAYLOAD && p.group == 9 && p.family == AF_INET && p.protocol == IPPROTO_UDP);
	CHECK(p.tuple.src_port == 53 && p.tuple.src[0] == 192 && p.size == 4 && p.length == 4);
	CHECK(!memcmp(p.data, "data", 4));
}

static void tcp_behind_its_options(void)
{
	struct hg_payload p;

	CHECK(parse(&p, TCP, sizeof(TCP)));
	CHECK(p.protocol == IPPROTO_TCP && p.sequence == 0x01020304 && p.size == 3 && p.length == 3);
	CHECK(p.tcp_flags == 0x18 && !memcmp(p.data, "abc", 3));
}

static void says_how_much_was_cut_off(void)
{
	struct hg_payload p;

	CHECK(parse(&p, TCP, sizeof(TCP) - 2));
	CHECK(p.size == 3 && p.length == 1);
}

static void passes_over_what_carries_nothing(void)
{
	uint8_t packet[sizeof(TCP)];
	struct hg_payload p;

	for (size_t length = 0; length <= 44; length++)
		CHECK(!parse(&p, TCP, length) || p.length == 0);
	memcpy(packet, TCP, sizeof(packet));
	packet[3] = 44; /* an ACK alone */
	CHECK(!parse(&p, packet, sizeof(packet)));
	memcpy(packet, TCP, sizeof(packet));
	packet[32] = 0x20; /* a header shorter than a header */
	CHECK(!parse(&p, packet, sizeof(packet)));
	memcpy(packet, TCP, sizeof(packet));
	packet[9] = IPPROTO_ICMP;
	CHECK(!parse(&p, packet, sizeof(packet)));
	memcpy(packet, TCP, sizeof(packet));
	packet[7] = 1; /* a later fragment */
	CHECK(!parse(&p, packet, sizeof(packet)));
}

static void sockets_of_udp_are_asked_for_by_a_packet(void)
{
	struct hg_socket_query query = { .family = AF_INET, .protocol = IPPROTO_TCP, .local_port = 1, .remote_port = 2,
					 .local = { 10 }, .remote = { 20 } };
	uint8_t buffer[HG_SOCKET_BYTES] __attribute__((aligned(8)));
	const struct inet_diag_req_v2 *request = mnl_nlmsg_get_payload(hg_socket_build(buffer, &query));

	CHECK(request->id.idiag_sport == htons(1) && request->id.idiag_dport == htons(2));
	CHECK(*(const uint8_t *)request->id.idiag_src == 10 && *(const uint8_t *)request->id.idiag_dst == 20);
	query.protocol = IPPROTO_UDP;
	request = mnl_nlmsg_get_payload(hg_socket_build(buffer, &query));
	CHECK(request->id.idiag_sport == htons(2) && request->id.idiag_dport == htons(1));
	CHECK(*(const uint8_t *)request->id.idiag_src == 20 && *(const uint8_t *)request->id.idiag_dst == 10);
}

static void a_socket_may_come_without_its_cgroup(void)
{
	uint8_t buffer[MESSAGE_BYTES] __attribute__((aligned(8)));
	struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);
	struct inet_diag_msg *said;
	struct hg_socket found = { 0 };

	m->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	CHECK(!hg_socket_parse(&found, m));
	said = mnl_nlmsg_put_extra_header(m, sizeof(*said));
	said->idiag_uid = 1000;
	said->idiag_inode = 77;
	CHECK(hg_socket_parse(&found, m) && found.uid == 1000 && found.inode == 77 && found.cgroup == 0);
	mnl_attr_put_u64(m, INET_DIAG_CGROUP_ID, 0x100000002);
	CHECK(hg_socket_parse(&found, m) && found.cgroup == 0x100000002);
}

int main(void)
{
	RUN(udp_without_its_padding);
	RUN(tcp_behind_its_options);
	RUN(says_how_much_was_cut_off);
	RUN(passes_over_what_carries_nothing);
	RUN(sockets_of_udp_are_asked_for_by_a_packet);
	RUN(a_socket_may_come_without_its_cgroup);
	return 0;
}
