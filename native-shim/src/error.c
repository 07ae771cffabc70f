// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <string.h>

#include "internal.h"

int hg_fail(struct hg_error *error, int code, const char *what, const char *text)
{
	if (error) {
		memset(error, 0, sizeof(*error));
		error->code = code;
		snprintf(error->what, sizeof(error->what), "%s", what);
		snprintf(error->text, sizeof(error->text), "%s", text ? text : "");
	}
	return -code;
}
