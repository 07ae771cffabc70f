// SPDX-License-Identifier: MIT
/* The redirects that are guarded, and what is known of their ifbs. */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard.h"

#define MOST_REDIRECTS 2048 /* more than there is room for in the input */
#define MOST_IFBS 8
#define MOST_CHAIN 256 /* NFT_NAME_MAXLEN */

struct device {
	int index; /* 0: not there, as far as is known */
	char name[IF_NAMESIZE];
	bool was_up; /* what is being made is down at first, and nothing leads there */
	bool seen;
};

struct redirect {
	struct device at;
	uint32_t pref, handle;
	char kind[16]; /* IFNAMSIZ, which is the most (struct tcf_proto_ops) */
	char chain[MOST_CHAIN]; /* empty: a filter */
	struct device ifbs[MOST_IFBS];
	int count;
	bool due; /* to be removed */
	bool gone;
};

static struct redirect redirects[MOST_REDIRECTS];
static int redirect_count;

static struct device read_device(const char *word)
{
	struct device device = { 0 };

	if (*word == ':') {
		device.index = atoi(word + 1);
		device.was_up = true;
	} else {
		snprintf(device.name, sizeof(device.name), "%s", word);
	}
	return device;
}

/* Names of devices hold no spaces (dev_valid_name() in net/core/dev.c). */
void read_list(char *list)
{
	char *lines, *line = strtok_r(list, "\n", &lines);

	redirect_count = 0;
	for (; line && redirect_count < MOST_REDIRECTS; line = strtok_r(NULL, "\n", &lines)) {
		struct redirect *redirect = &redirects[redirect_count];
		char *words, *kind = strtok_r(line, " ", &words), *at = strtok_r(NULL, " ", &words), *word;

		if (!kind || !at)
			continue;
		*redirect = (struct redirect){ 0 };
		if (strcmp(kind, "chain") == 0) {
			snprintf(redirect->chain, sizeof(redirect->chain), "%s", at);
		} else if ((word = strtok_r(NULL, " ", &words))) {
			redirect->at = read_device(at);
			redirect->pref = (uint32_t)atoi(word);
			if ((word = strtok_r(NULL, " ", &words)))
				snprintf(redirect->kind, sizeof(redirect->kind), "%s", word);
			if ((word = strtok_r(NULL, " ", &words)))
				redirect->handle = (uint32_t)strtoul(word, NULL, 10);
		}
		while (redirect->count < MOST_IFBS && (word = strtok_r(NULL, " ", &words)))
			redirect->ifbs[redirect->count++] = read_device(word);
		redirect_count++;
	}
}

static void cut(struct redirect *redirect)
{
	int error = redirect->chain[0] ? del_chain(redirect->chain)
				       : del_filter(redirect->at.index, redirect->pref, redirect->kind, redirect->handle);

	/* EINVAL: the hook has gone, or what is there is of another kind. */
	redirect->gone = !error || error == ENOENT || error == ENODEV || error == EINVAL;
	redirect->due = !redirect->gone;
}

void remove_due(void)
{
	for (int i = 0; i < redirect_count; i++)
		if (redirects[i].due)
			cut(&redirects[i]);
}

void hear_link(int index, const char *name, bool there, bool up)
{
	for (int i = 0; i < redirect_count; i++) {
		struct redirect *redirect = &redirects[i];

		if (there && !redirect->at.index && strcmp(redirect->at.name, name) == 0)
			redirect->at.index = index;
		for (int j = 0; j < redirect->count; j++) {
			struct device *ifb = &redirect->ifbs[j];

			if (there && !ifb->index && strcmp(ifb->name, name) == 0)
				ifb->index = index;
			if (ifb->index != index)
				continue;
			ifb->seen = there;
			redirect->due |= !redirect->gone && (!there || (ifb->was_up && !up));
			ifb->was_up |= up;
		}
	}
	remove_due();
}

void begin_look(void)
{
	for (int i = 0; i < redirect_count; i++)
		for (int j = 0; j < redirects[i].count; j++)
			redirects[i].ifbs[j].seen = false;
}

void end_look(void)
{
	for (int i = 0; i < redirect_count; i++) {
		struct redirect *redirect = &redirects[i];
		bool known = false;

		for (int j = 0; j < redirect->count; j++) {
			const struct device *ifb = &redirect->ifbs[j];

			known |= ifb->index != 0;
			redirect->due |= !redirect->gone && ifb->index && !ifb->seen;
		}
		/* What was not made yet will not be. */
		redirect->gone |= !known || (!redirect->chain[0] && !redirect->at.index);
	}
	remove_due();
}

bool is_all_gone(void)
{
	for (int i = 0; i < redirect_count; i++)
		if (!redirects[i].gone)
			return false;
	return true;
}

bool has_due(void)
{
	for (int i = 0; i < redirect_count; i++)
		if (redirects[i].due)
			return true;
	return false;
}
