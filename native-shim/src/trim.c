// SPDX-License-Identifier: MIT
/* libnetfilter_conntrack ends the process (abi_breakage() in parse_mnl.c) where an attribute has another length than
 * it knows. A kernel to come may send such a one, and our process is somebody's gateway: so the library gets a copy
 * with nothing in it but the attributes that we read, of the length that it wants. */
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include "internal.h"

struct rule {
	uint16_t size; /* of the payload, exactly */
	uint16_t max;  /* the highest type in nested */
	const struct rule *nested;
};

#define NESTED(rules) { .nested = (rules), .max = sizeof(rules) / sizeof((rules)[0]) - 1 }

static const struct rule ip[] = {
	[CTA_IP_V4_SRC] = { 4 }, [CTA_IP_V4_DST] = { 4 }, [CTA_IP_V6_SRC] = { 16 }, [CTA_IP_V6_DST] = { 16 },
};
static const struct rule protocol[] = {
	[CTA_PROTO_NUM] = { 1 },
	[CTA_PROTO_SRC_PORT] = { 2 }, [CTA_PROTO_DST_PORT] = { 2 },
	[CTA_PROTO_ICMP_ID] = { 2 }, [CTA_PROTO_ICMP_TYPE] = { 1 }, [CTA_PROTO_ICMP_CODE] = { 1 },
	[CTA_PROTO_ICMPV6_ID] = { 2 }, [CTA_PROTO_ICMPV6_TYPE] = { 1 }, [CTA_PROTO_ICMPV6_CODE] = { 1 },
};
static const struct rule tuple[] = {
	[CTA_TUPLE_IP] = NESTED(ip), [CTA_TUPLE_PROTO] = NESTED(protocol), [CTA_TUPLE_ZONE] = { 2 },
};
static const struct rule tcp[] = { [CTA_PROTOINFO_TCP_STATE] = { 1 } };
static const struct rule protoinfo[] = { [CTA_PROTOINFO_TCP] = NESTED(tcp) };
static const struct rule counters[] = { [CTA_COUNTERS_PACKETS] = { 8 }, [CTA_COUNTERS_BYTES] = { 8 } };
static const struct rule timestamp[] = { [CTA_TIMESTAMP_START] = { 8 }, [CTA_TIMESTAMP_STOP] = { 8 } };
static const struct rule entry[] = {
	[CTA_TUPLE_ORIG] = NESTED(tuple), [CTA_TUPLE_REPLY] = NESTED(tuple), [CTA_STATUS] = { 4 },
	[CTA_PROTOINFO] = NESTED(protoinfo), [CTA_TIMEOUT] = { 4 }, [CTA_MARK] = { 4 },
	[CTA_COUNTERS_ORIG] = NESTED(counters), [CTA_COUNTERS_REPLY] = NESTED(counters), [CTA_ID] = { 4 },
	[CTA_ZONE] = { 2 }, [CTA_TIMESTAMP] = NESTED(timestamp),
};
static const struct rule whole = NESTED(entry);

static bool copy(struct nlmsghdr *out, const struct rule *rule, const void *data, size_t length)
{
	const struct nlattr *attr = data;
	bool fits = true;

	while (fits && mnl_attr_ok(attr, (int)length)) {
		uint16_t type = mnl_attr_get_type(attr), size = mnl_attr_get_payload_len(attr);
		const struct rule *wanted = type <= rule->max ? &rule->nested[type] : NULL;
		size_t step = MNL_ALIGN(attr->nla_len);

		if (wanted && wanted->nested) {
			struct nlattr *nest = mnl_attr_nest_start_check(out, HG_TRIM_BYTES, type);

			fits = nest && copy(out, wanted, mnl_attr_get_payload(attr), size);
			if (nest)
				mnl_attr_nest_end(out, nest);
		} else if (wanted && wanted->size && wanted->size == size) {
			fits = mnl_attr_put_check(out, HG_TRIM_BYTES, type, size, mnl_attr_get_payload(attr));
		}
		if (step >= length)
			break;
		length -= step;
		attr = mnl_attr_next(attr);
	}
	return fits;
}

bool hg_flow_trim(void *buffer, const struct nlmsghdr *message)
{
	struct nlmsghdr *out = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *header = mnl_nlmsg_put_extra_header(out, sizeof(*header));
	size_t length = mnl_nlmsg_get_payload_len(message);

	if (message->nlmsg_len < NLMSG_HDRLEN + sizeof(*header))
		return false;
	out->nlmsg_type = message->nlmsg_type;
	out->nlmsg_flags = message->nlmsg_flags;
	header->nfgen_family = ((const struct nfgenmsg *)mnl_nlmsg_get_payload(message))->nfgen_family;
	return copy(out, &whole, mnl_nlmsg_get_payload_offset(message, sizeof(*header)), length - sizeof(*header));
}
