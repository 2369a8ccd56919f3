/* SPDX-License-Identifier: BSD-2-Clause */
/* Handlers of the commands, as control_command.run wants them. Main thread. */
#ifndef CONTROL_COMMAND_H
#define CONTROL_COMMAND_H

#include <jansson.h>

#include "base/errmsg.h"
#include "control/grammar.h"

#define CONTROL_HANDLER(name)                                                                      \
	int name(struct control *c, const struct control_call *call, json_t **ret_result,          \
		 struct errmsg *err)

CONTROL_HANDLER(control_port_add);
CONTROL_HANDLER(control_port_set);
CONTROL_HANDLER(control_port_del);
CONTROL_HANDLER(control_port_show);
CONTROL_HANDLER(control_wait_state);
CONTROL_HANDLER(control_fdb_show);
CONTROL_HANDLER(control_fdb_add);
CONTROL_HANDLER(control_fdb_del);
CONTROL_HANDLER(control_fdb_flush);
CONTROL_HANDLER(control_stats_show);
CONTROL_HANDLER(control_stats_reset_all);
CONTROL_HANDLER(control_worker_show);
CONTROL_HANDLER(control_config_show);
CONTROL_HANDLER(control_switch_set);
CONTROL_HANDLER(control_switch_show);

#endif
