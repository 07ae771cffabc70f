/* SPDX-License-Identifier: MIT
 *
 * The classifier's face: the configuration that is written into it before it is loaded, and the counters that it
 * keeps. src/kernel/bpf-object.ts states both for TypeScript; test/unit/bpf-object.test.ts holds the two together.
 */
#ifndef HEADGATE_STEER_H
#define HEADGATE_STEER_H

#include <linux/types.h>

/* Above every class number that fits into the mark. */
#define STEER_PICKABLE 128

/*
 * In `major`, of every other generation of `sort` and `pick`: so a packet that one `sort` has classified is picked by
 * its own picks, while those of another policy stand beside. Above every minor; the class that it is picked for has it not.
 */
#define STEER_SECOND_SET 0x8000

/* Symbol `config` in .rodata: patched in the object file, since plain tc has no other way to configure a program. */
struct steer_config {
	__u32 major;	     /* of the classes, in the upper 16 bits: 0x7fe00000 is 7fe0: */
	__u32 mark_mask;     /* bits of the conntrack mark that hold a class number; 0: the mark says nothing */
	__u32 mark_shift;    /* position of the mask's lowest bit, 0..31 */
	__u32 highest_class; /* a number above it in the mark is not obeyed: it is some earlier policy's */
	__u32 local_class;   /* minors, 1..0xffff: the class of each origin */
	__u32 remote_class;
	__u32 new_class;
	__u32 reserved; /* 0 */
	__u64 picked[STEER_PICKABLE / 64]; /* of `pick`: bit N for class N */
};

/*
 * Keys of the per-cpu array map `verdicts`, packets each. The first six are the outcomes: every packet has exactly
 * one, so that their sum is the number of packets seen. The others tell how it came about, and overlap.
 */
enum steer_verdict {
	STEER_LOCAL,
	STEER_REMOTE,
	STEER_NEW,
	STEER_MARKED,	  /* the conntrack mark named the class */
	STEER_LEFT_ALONE, /* not ours to delay: no IP, or the link's own control traffic */
	STEER_EXPIRED,	  /* came after the deadline */
	STEER_FRAGMENT_HIT,
	STEER_FRAGMENT_MISS, /* a later fragment whose first was not seen: `new` */
	STEER_ICMP_ERROR,
	STEER_VLAN, /* tagged, one or more tags */
	STEER_PPPOE,
	STEER_UNSUPPORTED, /* a protocol whose flows cannot be looked up: `new` */
	STEER_MALFORMED,   /* no valid IP header: left alone; no whole transport header: `new` */
	STEER_VERDICTS,
};

#endif
