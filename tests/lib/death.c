/* SPDX-License-Identifier: BSD-2-Clause */
/* Assertions under test: run something in a child process and see it abort. */
#include "death.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

bool death_seen(void (*function)(void *), void *argument, const char *message)
{
	const struct sigaction by_default = {.sa_handler = SIG_DFL};
	const struct rlimit no_core = {0};
	char text[4096];
	size_t filled = 0;
	int ends[2], status;
	ssize_t got;
	pid_t pid;

	if (pipe(ends))
		return false;
	(void)fflush(NULL);
	pid = fork();
	if (pid < 0)
		return false;
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		/* a test library may have its own handler */
		if (sigaction(SIGABRT, &by_default, NULL) || dup2(ends[1], STDERR_FILENO) < 0)
			_exit(1);
		close(ends[0]);
		close(ends[1]);
		function(argument);
		_exit(0);
	}
	close(ends[1]);
	while ((got = read(ends[0], text + filled, sizeof(text) - 1 - filled)) > 0)
		filled += (size_t)got;
	close(ends[0]);
	text[filled] = '\0';
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
	    (!message || strstr(text, message)))
		return true;
	fprintf(stderr, "no death by \"%s\": status %#x, said: %s\n", message ? message : "",
		status, text);
	return false;
}
