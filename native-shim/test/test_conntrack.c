// SPDX-License-Identifier: MIT
#include "test.h"

static char buffer[MESSAGE_BYTES] __attribute__((aligned(8)));

static bool parse(struct hg_flow *flow, const struct nlmsghdr *message)
{
	memset(flow, 0, sizeof(*flow));
	return hg_flow_parse(flow, message);
}

static void a_full_tcp_event(void)
{
	struct hg_flow f;

	CHECK(parse(&f, build_flow(buffer, &TCP4, true)));
	CHECK(f.head.kind == HG_NEW);
	CHECK(f.head.flags == (HG_F_PORTS | HG_F_STATUS | HG_F_MARK | HG_F_TIMEOUT | HG_F_START | HG_F_STOP |
			       HG_F_COUNTERS | HG_F_TCP_STATE | HG_F_HELPER));
	CHECK(f.id == 0xcafe && f.status == 0x18e && f.mark == 0x0300beef && f.timeout == 431999);
	CHECK(f.start_ns == 1700000000123456789ull && f.stop_ns == 1700000001123456789ull);
	CHECK(f.original_packets == 7 && f.original_bytes == 1ull << 40);
	CHECK(f.reply_packets == 9 && f.reply_bytes == 3000);
	CHECK(f.zone == 7 && f.family == AF_INET && f.protocol == IPPROTO_TCP && f.tcp_state == 3);
	CHECK(strcmp(f.helper, "ftp") == 0);
	CHECK(memcmp(f.original.src, TCP4.original_src, 16) == 0 && memcmp(f.original.dst, TCP4.original_dst, 16) == 0);
	CHECK(memcmp(f.reply.src, TCP4.reply_src, 16) == 0 && memcmp(f.reply.dst, TCP4.reply_dst, 16) == 0);
	CHECK(f.original.src_port == 40000 && f.original.dst_port == 443);
	CHECK(f.reply.src_port == 443 && f.reply.dst_port == 50000);
}

static void absent_fields_have_no_flag(void)
{
	struct sample s = TCP4;
	struct hg_flow f;

	s.zone = 0;
	CHECK(parse(&f, build_flow(buffer, &s, false)));
	CHECK(f.head.flags == HG_F_PORTS && f.zone == 0 && f.mark == 0 && f.original_bytes == 0);
}

static void kinds_of_messages(void)
{
	struct sample s = TCP4;
	struct hg_flow f;

	s.flags = 0;
	CHECK(parse(&f, build_flow(buffer, &s, true)) && f.head.kind == HG_UPDATE);
	s.message = IPCTNL_MSG_CT_DELETE;
	CHECK(parse(&f, build_flow(buffer, &s, true)) && f.head.kind == HG_DESTROY);
	memset(&f, 0, sizeof(f));
	f.head.kind = HG_DUMPED;
	s.message = IPCTNL_MSG_CT_NEW;
	CHECK(hg_flow_parse(&f, build_flow(buffer, &s, true)) && f.head.kind == HG_DUMPED);
	s.message = IPCTNL_MSG_CT_GET_STATS;
	CHECK(!parse(&f, build_flow(buffer, &s, true)));
}

static void icmp_of_both_directions(void)
{
	struct hg_flow f;

	CHECK(parse(&f, build_flow(buffer, &ICMP6, true)));
	CHECK((f.head.flags & (HG_F_ICMP | HG_F_PORTS)) == HG_F_ICMP);
	CHECK(f.original.icmp_type == 128 && f.original.icmp_code == 5 && f.original.icmp_id == 0x1234);
	CHECK(f.reply.icmp_type == 129 && f.reply.icmp_code == 5 && f.reply.icmp_id == 0x4321);
	CHECK(memcmp(f.reply.dst, ICMP6.reply_dst, 16) == 0);
}

static void a_protocol_unknown_to_us(void)
{
	struct sample s = TCP4;
	struct hg_flow f;

	s.protocol = 253;
	CHECK(parse(&f, build_flow(buffer, &s, true)));
	CHECK(f.protocol == 253 && !(f.head.flags & (HG_F_PORTS | HG_F_ICMP)) && f.original.src_port == 0);
}

static void the_identity_is_one_piece(void)
{
	struct hg_mark_request request;
	struct hg_flow f;

	CHECK(parse(&f, build_flow(buffer, &TCP4, true)));
	memset(&request, 0, sizeof(request));
	memcpy(&request, &f.zone, 44);
	CHECK(request.zone == f.zone && request.family == f.family && request.protocol == f.protocol);
	CHECK(memcmp(&request.original, &f.original, sizeof(f.original)) == 0);
}

/* Cut anywhere, a message gives a record with both tuples or none. */
static void truncated_messages(void)
{
	const struct nlmsghdr *whole = build_flow(buffer, &TCP4, true);
	uint32_t length = whole->nlmsg_len;
	int good = 0;

	for (uint32_t cut = NLMSG_HDRLEN; cut < length; cut++) {
		struct nlmsghdr *m = exactly(whole, cut);
		struct hg_flow f;

		m->nlmsg_len = cut;
		if (parse(&f, m)) {
			CHECK(f.protocol == IPPROTO_TCP && f.original.dst_port == 443 && f.reply.src_port == 443);
			good++;
		}
		free(m);
	}
	CHECK(good > 0 && good < (int)length);
}

int main(void)
{
	RUN(a_full_tcp_event);
	RUN(absent_fields_have_no_flag);
	RUN(kinds_of_messages);
	RUN(icmp_of_both_directions);
	RUN(a_protocol_unknown_to_us);
	RUN(the_identity_is_one_piece);
	RUN(truncated_messages);
	return 0;
}
