/* See shim.h. */
#define _GNU_SOURCE
#include "shim.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>

int shim_rte_errno(void)
{
    return rte_errno;
}

unsigned int shim_rte_lcore_id(void)
{
    return rte_lcore_id();
}

struct rte_mbuf *shim_pktmbuf_alloc(struct rte_mempool *pool)
{
    return rte_pktmbuf_alloc(pool);
}

int shim_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int count)
{
    return rte_pktmbuf_alloc_bulk(pool, mbufs, count);
}

void shim_pktmbuf_free(struct rte_mbuf *mbuf)
{
    rte_pktmbuf_free(mbuf);
}

size_t shim_mempool_stride(const struct rte_mempool *pool)
{
    return (size_t)pool->header_size + pool->elt_size + pool->trailer_size;
}

int shim_eth_link_get(uint16_t port, uint32_t *speed, int *is_up, int *is_full_duplex)
{
    struct rte_eth_link link = {0};
    int result = rte_eth_link_get_nowait(port, &link);

    *speed = link.link_speed;
    *is_up = link.link_status == RTE_ETH_LINK_UP;
    *is_full_duplex = link.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
    return result;
}

/* One stream for the whole process, never closed, because any thread may be writing to it at any time. It takes the
 * place of DPDK's log and of C's `stdout` and `stderr`, to which glibc lets one assign: EAL prints as well as logs.
 * Swapping the file descriptors instead would also catch what other threads print from Rust. */
static pthread_once_t sink_once = PTHREAD_ONCE_INIT;
static FILE *sink;

static _Thread_local int is_capturing;
static _Thread_local char *captured;
static _Thread_local size_t captured_size;

static ssize_t sink_write(void *cookie, const char *bytes, size_t size)
{
    char *grown;

    (void)cookie;
    if (!is_capturing)
        return write(STDERR_FILENO, bytes, size);
    grown = realloc(captured, captured_size + size + 1);
    if (grown == NULL)
        return 0;
    memcpy(grown + captured_size, bytes, size);
    captured = grown;
    captured_size += size;
    captured[captured_size] = '\0';
    return (ssize_t)size;
}

static void sink_open(void)
{
    const cookie_io_functions_t functions = {.write = sink_write};

    sink = fopencookie(NULL, "w", functions);
    if (sink == NULL)
        return;
    /* Unbuffered: each line is written by the thread that prints it. */
    setvbuf(sink, NULL, _IONBF, 0);
    rte_openlog_stream(sink);
    stdout = sink;
    stderr = sink;
}

void shim_log_begin(void)
{
    pthread_once(&sink_once, sink_open);
    captured = NULL;
    captured_size = 0;
    is_capturing = 1;
}

char *shim_log_end(void)
{
    char *text = captured;

    is_capturing = 0;
    captured = NULL;
    return text;
}

void shim_log_free(char *text)
{
    free(text);
}
