/* SPDX-License-Identifier: BSD-2-Clause */
/* Batches of writes by io_uring. The theory is in uring.h. */
#include "port/uring.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/util.h"

int (*uring_setup)(unsigned entries, struct io_uring *ring,
		   struct io_uring_params *params) = io_uring_queue_init_params;

/* Newest first: 6.1 has all of them, 5.10 only the last one. */
static const unsigned setup_flags[] = {
	IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
		IORING_SETUP_DEFER_TASKRUN,
	IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL,
	IORING_SETUP_R_DISABLED,
};

/* Writes to registered files; the files may be let go; nothing else, for good. */
static int restrict_ring(struct io_uring *ring)
{
	struct io_uring_restriction allowed[] = {
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV},
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_FIXED_FILE},
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE},
		{.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_UNREGISTER_FILES},
	};

	/* Debian 12's liburing has a function for it, and for enabling, in the archive only. */
	return io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_RESTRICTIONS, allowed,
				 ARRAY_SIZE(allowed));
}

int uring_open(struct uring *u, const int *files, unsigned file_count)
{
	int err = -EINVAL;

	ASSERT(file_count <= URING_FILES_MAX);
	memset(u, 0, sizeof(*u));
	for (unsigned i = 0; i < ARRAY_SIZE(setup_flags) && err == -EINVAL; i++) {
		struct io_uring_params params = {.flags = setup_flags[i]};

		err = uring_setup(URING_BATCH, &u->ring, &params);
	}
	if (err)
		return err;
	u->open = true;
	err = io_uring_register_files(&u->ring, files, file_count);
	if (!err)
		err = restrict_ring(&u->ring);
	if (err)
		uring_close(u);
	return err;
}

int uring_enable(struct uring *u)
{
	int err =
		io_uring_register((unsigned)u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);

	return err < 0 ? err : 0;
}

void uring_release(struct uring *u)
{
	ASSERT(u->queued == 0);
	/* It cannot fail but when the ring was never enabled; closing lets the files go, later. */
	if (u->open)
		io_uring_unregister_files(&u->ring);
}

void uring_close(struct uring *u)
{
	if (!u->open)
		return;
	ASSERT(u->queued == 0);
	io_uring_queue_exit(&u->ring);
	u->open = false;
}

void uring_write(struct uring *u, unsigned file, const struct iovec *iov, unsigned iov_count)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	ASSERT(sqe);
	ASSERT(u->queued < URING_BATCH);
	io_uring_prep_writev(sqe, (int)file, iov, iov_count, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = u->queued++;
}

/* Take what is complete. Return: how many */
static unsigned reap(struct uring *u, int32_t *results)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;

	io_uring_for_each_cqe(&u->ring, head, cqe)
	{
		ASSERT(cqe->user_data < u->queued);
		ASSERT(results[cqe->user_data] == URING_NOT_DONE);
		results[cqe->user_data] = cqe->res;
		count++;
	}
	io_uring_cq_advance(&u->ring, count);
	return count;
}

int uring_run(struct uring *u, int32_t *results)
{
	unsigned submitted = 0, done = 0;
	int failed = 0;

	for (unsigned i = 0; i < u->queued; i++)
		results[i] = URING_NOT_DONE;
	/* After a failure: what the kernel has taken is waited for, the rest is never submitted. */
	while (done < (failed ? submitted : u->queued)) {
		struct io_uring_cqe *cqe;
		int ret;

		if (!failed && submitted < u->queued)
			ret = io_uring_submit_and_wait(&u->ring, u->queued - done);
		else
			ret = io_uring_wait_cqe_nr(&u->ring, &cqe, submitted - done);
		if (ret > 0 && submitted < u->queued)
			submitted += (unsigned)ret;
		else if (ret < 0 && ret != -EINTR && !failed)
			failed = ret;
		ASSERT(submitted <= u->queued);
		done += reap(u, results);
	}
	u->queued = 0;
	return failed;
}
