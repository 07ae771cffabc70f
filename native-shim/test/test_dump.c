// SPDX-License-Identifier: MIT
/* A dump, with a fake kernel at the other end of a socket pair. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dump.h"
#include "test.h"

struct peer {
	struct hg_source *source;
	int fd, bell;
};

static struct peer open_dump_with(struct hg_dump wanted)
{
	struct hg_dump *dump = calloc(1, sizeof(*dump));
	struct hg_error error;
	struct peer peer;
	int pair[2];

	CHECK(dump && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	*dump = wanted;
	peer.source = hg_source_start(&hg_dump_ops, dump, pair[0], 64, &error);
	CHECK(peer.source);
	peer.fd = pair[1];
	peer.bell = hg_source_doorbell(peer.source);
	return peer;
}

static struct peer open_dump(uint32_t attempts)
{
	return open_dump_with((struct hg_dump){ .attempts = attempts });
}

static uint32_t await_request(struct peer *peer, struct nlmsghdr *request)
{
	CHECK(recv(peer->fd, request, 256, 0) >= NLMSG_HDRLEN);
	CHECK(request->nlmsg_flags == (NLM_F_REQUEST | NLM_F_DUMP));
	return request->nlmsg_seq;
}

static void answer(struct peer *peer, uint32_t sequence, uint32_t id, uint16_t flags)
{
	char buffer[MESSAGE_BYTES] __attribute__((aligned(8)));
	struct sample s = TCP4;
	struct nlmsghdr *m;

	s.id = id;
	m = build_flow(buffer, &s, true);
	m->nlmsg_seq = sequence;
	m->nlmsg_flags = NLM_F_MULTI | flags;
	CHECK(send(peer->fd, m, m->nlmsg_len, 0) == (ssize_t)m->nlmsg_len);
}

static void finish(struct peer *peer, uint32_t sequence, uint16_t type, uint16_t flags, int status)
{
	char buffer[64] __attribute__((aligned(8)));
	struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);

	m->nlmsg_type = type;
	m->nlmsg_seq = sequence;
	m->nlmsg_flags = flags;
	memcpy(mnl_nlmsg_put_extra_header(m, sizeof(status)), &status, sizeof(status));
	CHECK(send(peer->fd, m, m->nlmsg_len, 0) == (ssize_t)m->nlmsg_len);
}

/* Takes records until one of kind `last`; returns how many came. */
static int take_until(struct peer *peer, uint16_t last, struct hg_flow *records, int max)
{
	double deadline = seconds() + 10;
	int count = 0;

	while (count == 0 || records[count - 1].head.kind != last) {
		struct pollfd fd = { peer->bell, POLLIN, 0 };
		char bytes[16];

		CHECK(count < max && seconds() < deadline);
		if (poll(&fd, 1, 1000) > 0)
			CHECK(read(peer->bell, bytes, sizeof(bytes)) > 0);
		count += hg_source_take(peer->source, records + count, (uint32_t)(max - count));
	}
	return count;
}

static void close_dump(struct peer *peer)
{
	hg_source_close(peer->source);
	close(peer->bell);
	close(peer->fd);
}

static void a_clean_dump(void)
{
	char buffer[256] __attribute__((aligned(8)));
	struct peer peer = open_dump(3);
	struct nlmsghdr *request = (void *)buffer;
	struct hg_flow r[16];
	uint32_t sequence = await_request(&peer, request);

	CHECK(request->nlmsg_len == NLMSG_HDRLEN + sizeof(struct nfgenmsg));
	answer(&peer, sequence + 5, 99, 0); /* somebody else's */
	answer(&peer, sequence, 1, 0);
	answer(&peer, sequence, 2, 0);
	finish(&peer, sequence, NLMSG_DONE, 0, 0);
	CHECK(take_until(&peer, HG_DUMP_END, r, 16) == 4);
	CHECK(r[0].head.kind == HG_DUMP_START && r[0].head.count == 1);
	CHECK(r[1].head.kind == HG_DUMPED && r[1].id == 1 && r[2].id == 2);
	CHECK(r[3].head.count == 1 && r[3].head.flags == 0);
	close_dump(&peer);
}

static void the_filter_goes_to_the_kernel(void)
{
	char buffer[256] __attribute__((aligned(8)));
	const struct nlattr *attrs[CTA_STATUS_MASK + 1];
	struct peer peer = open_dump_with((struct hg_dump){
		.attempts = 1, .mark = 0x03000000, .mask = 0x7f000000, .status = 0x4000 });
	struct nlmsghdr *request = (void *)buffer;

	await_request(&peer, request);
	hg_attrs(attrs, CTA_STATUS_MASK, mnl_nlmsg_get_payload_offset(request, sizeof(struct nfgenmsg)),
		 mnl_nlmsg_get_payload_len(request) - sizeof(struct nfgenmsg));
	CHECK(attrs[CTA_MARK] && mnl_attr_get_u32(attrs[CTA_MARK]) == htonl(0x03000000));
	CHECK(attrs[CTA_MARK_MASK] && mnl_attr_get_u32(attrs[CTA_MARK_MASK]) == htonl(0x7f000000));
	CHECK(attrs[CTA_STATUS] && mnl_attr_get_u32(attrs[CTA_STATUS]) == htonl(0x4000));
	CHECK(attrs[CTA_STATUS_MASK] && mnl_attr_get_u32(attrs[CTA_STATUS_MASK]) == htonl(0x4000));
	close_dump(&peer);
}

static void an_interrupted_dump_begins_again(void)
{
	char buffer[256] __attribute__((aligned(8)));
	struct peer peer = open_dump(3);
	struct hg_flow r[16];
	uint32_t first = await_request(&peer, (void *)buffer), second;

	answer(&peer, first, 1, NLM_F_DUMP_INTR);
	finish(&peer, first, NLMSG_DONE, 0, 0);
	second = await_request(&peer, (void *)buffer);
	CHECK(second != first);
	answer(&peer, first, 7, 0); /* too late */
	answer(&peer, second, 2, 0);
	finish(&peer, second, NLMSG_DONE, 0, 0);
	CHECK(take_until(&peer, HG_DUMP_END, r, 16) == 5);
	CHECK(r[1].id == 1 && r[2].head.kind == HG_DUMP_START && r[2].head.count == 2 && r[3].id == 2);
	CHECK(r[4].head.count == 2 && r[4].head.flags == 0);
	close_dump(&peer);
}

static void attempts_are_bounded(void)
{
	char buffer[256] __attribute__((aligned(8)));
	struct peer peer = open_dump(3);
	struct hg_flow r[16];

	for (int i = 0; i < 3; i++)
		finish(&peer, await_request(&peer, (void *)buffer), NLMSG_DONE, NLM_F_DUMP_INTR, 0);
	CHECK(take_until(&peer, HG_DUMP_END, r, 16) == 4);
	CHECK(r[3].head.count == 3 && r[3].head.flags == HG_F_INTERRUPTED);
	close_dump(&peer);
}

static void what_the_kernel_refuses(void)
{
	char buffer[256] __attribute__((aligned(8)));
	struct hg_flow r[16];

	for (int i = 0; i < 2; i++) {
		struct peer peer = open_dump(3);

		finish(&peer, await_request(&peer, (void *)buffer), i ? NLMSG_DONE : NLMSG_ERROR, 0, -EOPNOTSUPP);
		CHECK(take_until(&peer, HG_FAILED, r, 16) == 2);
		CHECK(r[1].head.count == EOPNOTSUPP);
		close_dump(&peer);
	}
}

static void a_peer_that_closes(void)
{
	struct peer peer = open_dump(3);
	struct hg_flow r[16];

	CHECK(shutdown(peer.fd, SHUT_RDWR) == 0);
	CHECK(take_until(&peer, HG_FAILED, r, 16) == 2);
	close_dump(&peer);
}

int main(void)
{
	RUN(a_clean_dump);
	RUN(the_filter_goes_to_the_kernel);
	RUN(an_interrupted_dump_begins_again);
	RUN(attempts_are_bounded);
	RUN(what_the_kernel_refuses);
	RUN(a_peer_that_closes);
	return 0;
}
