/* SPDX-License-Identifier: BSD-2-Clause */
/* Batches of writes to a few files by io_uring: one system call for all, done when it returns.
 *
 * Theory of operation
 *
 * A ring belongs to one worker and one port. The main thread makes it disabled, registers the files
 * and restricts it: writes to these files and nothing else, whoever gets hold of it later. The
 * worker enables it, which makes that thread the only one that may submit. Nothing stays in flight
 * beyond uring_run(): the caller's buffers are its own again.
 *
 * Hosts without io_uring, or that forbid it, make uring_open() fail: the caller writes by writev().
 */
#ifndef PORT_URING_H
#define PORT_URING_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define URING_BATCH	64
#define URING_FILES_MAX 16

/* A write's result when it was not carried out because the ring failed. */
#define URING_NOT_DONE INT32_MIN

/**
 * struct uring - One ring
 * @open:   @ring is there
 * @queued: writes since the last uring_run()
 */
struct uring {
	struct io_uring ring;
	bool open;
	unsigned queued;
};

/* How a ring is made; a test puts in what fails. */
extern int (*uring_setup)(unsigned entries, struct io_uring *ring, struct io_uring_params *params);

/**
 * uring_open() - A ring for @files, disabled; main thread
 *
 * Return: 0, negative errno: there is no io_uring for us
 */
int uring_open(struct uring *u, const int *files, unsigned file_count);

/**
 * uring_enable() - From now on the calling thread submits. Return: 0, negative errno
 */
int uring_enable(struct uring *u);

/**
 * uring_release() - The files are not held any more; on the thread that enabled it
 */
void uring_release(struct uring *u);

/**
 * uring_close() - Main thread; a ring that is not open is fine
 */
void uring_close(struct uring *u);

/**
 * uring_write() - Queue a write of @iov to file number @file; its place in the results of
 * uring_run() is the number of writes queued before it. At most URING_BATCH
 */
void uring_write(struct uring *u, unsigned file, const struct iovec *iov, unsigned iov_count);

/**
 * uring_run() - Carry out what is queued and wait until all of it is done
 * @results: of each write: bytes, negative errno or URING_NOT_DONE
 *
 * Return: 0, negative errno when the ring is not to be used any more
 */
int uring_run(struct uring *u, int32_t *results);

#endif
