/* SPDX-License-Identifier: BSD-2-Clause */
/* Lend one buffer to two consumers; it comes back once, when the last of them is done. */
#include <lastref/packet.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char buffer[3000]; /* the lender's memory: a guest's, a file's, a device's */
static unsigned completed;

static void returned(struct lr_ubuf *ubuf)
{
	completed++;
	memset(buffer, 'x', sizeof(buffer)); /* nobody reads it any more: use it again */
	printf("completed; copied on the way: %s\n", ubuf->flags & LR_UBUF_COPIED ? "yes" : "no");
}

static const struct lr_ubuf_ops lender = {.complete = returned};

int main(void)
{
	const struct lr_pool_config config = {.packet_count = 8, .chunk_count = 8};
	static const char header[14] = "to....from....";
	static struct lr_ubuf ubuf; /* one for each buffer, zeroed */
	struct lr_packet *tunnelled, *kept;
	struct lr_pool *pool;
	char first[4];

	if (lr_pool_new(&config, &pool)) /* all memory there will ever be */
		return EXIT_FAILURE;
	memset(buffer, 'a', sizeof(buffer));

	/* a packet: a private header, then the lent bytes where they lie */
	lr_ubuf_init(&ubuf, &lender);
	tunnelled = lr_packet_new(pool);
	if (!tunnelled || lr_packet_append(tunnelled, header, sizeof(header)) ||
	    lr_packet_attach(tunnelled, &ubuf, buffer, sizeof(buffer)))
		return EXIT_FAILURE;
	lr_ubuf_put(&ubuf); /* the builder is done; the packet holds the buffer now */

	/* a second consumer: the same bytes, one reference more */
	kept = lr_packet_clone(tunnelled);
	if (!kept || !lr_packet_push(tunnelled, 50)) /* encapsulate the first one only */
		return EXIT_FAILURE;
	memset(tunnelled->head, 0, 50);
	printf("cloned: %u references, %u and %u bytes\n", lr_ubuf_count(&ubuf), tunnelled->bytes,
	       kept->bytes);

	/* this one is slow: it takes a copy and lets go */
	if (lr_packet_orphan(kept))
		return EXIT_FAILURE;
	printf("orphaned: %u reference, %u completions\n", lr_ubuf_count(&ubuf), completed);
	lr_packet_free(tunnelled); /* sent: the last reference */
	lr_packet_read(kept, sizeof(header), first, sizeof(first));
	printf("%u completion; the copy still says %.4s\n", completed, first);
	lr_packet_free(kept);
	lr_pool_free(pool); /* asserts that everything came home */
	return completed == 1 && memcmp(first, "aaaa", 4) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
