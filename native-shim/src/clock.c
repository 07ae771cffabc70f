/* SPDX-License-Identifier: MIT */
#include "headgate.h"

#include <errno.h>
#include <sys/timex.h>

#include "internal.h"

HG_EXPORT int32_t hg_clock_state(void)
{
	struct timex asked = { .modes = 0 };
	int state = adjtimex(&asked);

	return state < 0 ? -errno : state;
}
