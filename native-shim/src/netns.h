/* SPDX-License-Identifier: MIT */
#ifndef HEADGATE_NETNS_H
#define HEADGATE_NETNS_H

#include "internal.h"

/* Opens a netlink socket inside another network namespace; the thread is back in its own when this returns.
 * A socket stays in the namespace that it was made in. Returns it, or -errno. */
int hg_netns_socket(const char *netns, int protocol, struct hg_error *error);

#endif
