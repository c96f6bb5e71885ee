/* Functions that DPDK only has as static inline, thread-local variables, and structs whose shape depends on the
 * version: reached through ordinary C functions. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

int shim_rte_errno(void);
unsigned int shim_rte_lcore_id(void);

struct rte_mbuf *shim_pktmbuf_alloc(struct rte_mempool *pool);
int shim_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int count);
void shim_pktmbuf_free(struct rte_mbuf *mbuf);

/* Bytes from one element of the pool to the next. */
size_t shim_mempool_stride(const struct rte_mempool *pool);

/* The link as it is now, without waiting for it. speed is in Mbit/s, RTE_ETH_SPEED_NUM_UNKNOWN when not known. */
int shim_eth_link_get(uint16_t port, uint32_t *speed, int *is_up, int *is_full_duplex);

/* From `begin` to `end`, what this thread makes DPDK log, or C code print, goes into a buffer instead of the terminal.
 * `end` returns it as a string for shim_log_free, or NULL when there is none. Not reentrant. What other threads log goes
 * to file descriptor 2 (and not to syslog too, as DPDK would have it). Rust's own output is not touched. */
void shim_log_begin(void);
char *shim_log_end(void);
void shim_log_free(char *text);
