/* SPDX-License-Identifier: BSD-2-Clause */
/* What the handlers share. */
#include "control/control.h"

#include "control/stats.h"

void control_remove_ports(struct control *c)
{
	for (unsigned i = PORTS_MAX; i-- > 0;) {
		struct port *p = bridge_port(c->env.bridge, i);

		if (!p)
			continue;
		control_stats_remove(c->stats, p);
		port_free(p);
	}
}
