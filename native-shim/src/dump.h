/* SPDX-License-Identifier: MIT */
#ifndef HEADGATE_DUMP_H
#define HEADGATE_DUMP_H

#include "source.h"

struct hg_dump {
	uint8_t family;
	uint32_t mark, mask;
	uint32_t status; /* bits that an entry has to have */
	uint32_t attempts; /* at most that many */
	uint32_t attempt;  /* the one that runs, and the sequence number of its request */
	bool interrupted;
};

extern const struct hg_source_ops hg_dump_ops;
extern const struct hg_source_ops hg_conntrack_ops;

#endif
