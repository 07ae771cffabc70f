// SPDX-License-Identifier: MIT
#include "test.h"

static uint32_t u32_of(const struct nlattr *attr)
{
	uint32_t value;

	CHECK(attr && mnl_attr_get_payload_len(attr) == sizeof(value));
	memcpy(&value, mnl_attr_get_payload(attr), sizeof(value));
	return ntohl(value);
}

static struct hg_mark_request request_of(uint8_t family, uint8_t protocol)
{
	struct hg_mark_request r = { .zone = 3, .family = family, .protocol = protocol, .mark = 0xff000001,
				     .mask = 0x7f000000 };

	memset(&r.original, 0xaa, sizeof(r.original));
	return r;
}

static void only_bits_of_the_mask_are_sent(void)
{
	char buffer[HG_MARK_BYTES] __attribute__((aligned(8)));
	const struct nlattr *attrs[CTA_MARK_MASK + 1];
	struct hg_mark_request r = request_of(AF_INET, IPPROTO_TCP);
	struct nlmsghdr *m = hg_mark_build(buffer, &r, 42);

	CHECK(m->nlmsg_seq == 42 && m->nlmsg_flags == (NLM_F_REQUEST | NLM_F_ACK));
	hg_attrs(attrs, CTA_MARK_MASK, mnl_nlmsg_get_payload_offset(m, sizeof(struct nfgenmsg)),
		 mnl_nlmsg_get_payload_len(m) - sizeof(struct nfgenmsg));
	CHECK(u32_of(attrs[CTA_MARK]) == 0x7f000000 && u32_of(attrs[CTA_MARK_MASK]) == 0x7f000000);
	CHECK(attrs[CTA_ZONE] && !attrs[CTA_TUPLE_REPLY]);
	r.zone = 0;
	m = hg_mark_build(buffer, &r, 42);
	hg_attrs(attrs, CTA_MARK_MASK, mnl_nlmsg_get_payload_offset(m, sizeof(struct nfgenmsg)),
		 mnl_nlmsg_get_payload_len(m) - sizeof(struct nfgenmsg));
	CHECK(!attrs[CTA_ZONE]);
}

static void every_protocol_fits(void)
{
	for (int family = 0; family < 256; family++) {
		for (int protocol = 0; protocol < 256; protocol++) {
			struct hg_mark_request r = request_of((uint8_t)family, (uint8_t)protocol);
			void *buffer = malloc(HG_MARK_BYTES);
			struct nlmsghdr *m = hg_mark_build(buffer, &r, 1);

			CHECK(m->nlmsg_len <= HG_MARK_BYTES && m->nlmsg_len % NLMSG_ALIGNTO == 0);
			free(buffer);
		}
	}
}

int main(void)
{
	RUN(only_bits_of_the_mask_are_sent);
	RUN(every_protocol_fits);
	return 0;
}
