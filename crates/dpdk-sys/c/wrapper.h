/* What bindgen reads: the DPDK headers in use, the shim, and by value what bindgen cannot see.
 *
 * Macros over RTE_BIT64 or casts are invisible to bindgen. A constant of the same value is not. The prefix
 * WEIR_ is taken off again by build.rs, so that Rust sees DPDK's own names.
 */
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_version.h>

#include "shim.h"

#define REEXPORT(type, name) static const type WEIR_##name = name

REEXPORT(uint64_t, RTE_ETH_RX_OFFLOAD_IPV4_CKSUM);
REEXPORT(uint64_t, RTE_ETH_RX_OFFLOAD_UDP_CKSUM);
REEXPORT(uint64_t, RTE_ETH_RX_OFFLOAD_TCP_CKSUM);
REEXPORT(uint64_t, RTE_ETH_RX_OFFLOAD_RSS_HASH);
REEXPORT(uint64_t, RTE_ETH_TX_OFFLOAD_IPV4_CKSUM);
REEXPORT(uint64_t, RTE_ETH_TX_OFFLOAD_UDP_CKSUM);
REEXPORT(uint64_t, RTE_ETH_TX_OFFLOAD_TCP_CKSUM);
REEXPORT(uint64_t, RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE);

REEXPORT(uint64_t, RTE_ETH_RSS_IPV4);
REEXPORT(uint64_t, RTE_ETH_RSS_FRAG_IPV4);
REEXPORT(uint64_t, RTE_ETH_RSS_NONFRAG_IPV4_TCP);
REEXPORT(uint64_t, RTE_ETH_RSS_NONFRAG_IPV4_UDP);
REEXPORT(uint64_t, RTE_ETH_RSS_NONFRAG_IPV4_OTHER);
REEXPORT(uint64_t, RTE_ETH_RSS_IPV6);
REEXPORT(uint64_t, RTE_ETH_RSS_FRAG_IPV6);
REEXPORT(uint64_t, RTE_ETH_RSS_NONFRAG_IPV6_TCP);
REEXPORT(uint64_t, RTE_ETH_RSS_NONFRAG_IPV6_UDP);
REEXPORT(uint64_t, RTE_ETH_RSS_NONFRAG_IPV6_OTHER);
REEXPORT(uint64_t, RTE_ETH_RSS_IPV6_TCP_EX);
REEXPORT(uint64_t, RTE_ETH_RSS_IPV6_UDP_EX);

REEXPORT(uint32_t, LCORE_ID_ANY);
REEXPORT(int, SOCKET_ID_ANY);

/* Fields of rte_mbuf that the fast path touches. 22.11 has them flat, 24.11 inside anonymous unions and structs
 * whose Rust names would be bindgen's invention; their offsets come from whichever header is compiled. */
#define MBUF_FIELD(field, type)                                                                                 \
    static const uintptr_t MBUF_OFFSET_##field = offsetof(struct rte_mbuf, field);                              \
    _Static_assert(sizeof(((struct rte_mbuf *)0)->field) == sizeof(type), #field " has changed its size")

MBUF_FIELD(buf_addr, void *);
MBUF_FIELD(data_off, uint16_t);
MBUF_FIELD(refcnt, uint16_t);
MBUF_FIELD(nb_segs, uint16_t);
MBUF_FIELD(ol_flags, uint64_t);
MBUF_FIELD(pkt_len, uint32_t);
MBUF_FIELD(data_len, uint16_t);
MBUF_FIELD(buf_len, uint16_t);
