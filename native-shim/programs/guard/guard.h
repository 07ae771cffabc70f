// SPDX-License-Identifier: MIT
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* remove.c */

/* Opens what the removals need; false and errno. Without nftables in the kernel that has no chains, either. */
bool open_removals(void);

/* Both ask the kernel and wait for its answer; 0 or errno. */
int del_filter(int ifindex, uint32_t pref, const char *kind, uint32_t handle);
int del_chain(const char *chain);

/* redirects.c */

/* Reads what is to be guarded from now on; the text is changed. */
void read_list(char *list);

/* A link as it is now, or that it is no more. Removes at once what leads nowhere by that. */
void hear_link(int index, const char *name, bool there, bool up);

/* All links will be told, each by hear_link(); then that they were: what was not is gone. */
void begin_look(void);
void end_look(void);

/* Tries again what could not be removed. */
void remove_due(void);
bool has_due(void);
bool is_all_gone(void);
