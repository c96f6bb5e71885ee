-- What all measurements here share: the addresses, the frames, one trial.
-- Change the values of `site` to those of your network; everything else follows from them and from weir.ron.

package.path = package.path .. ";?.lua;/usr/share/pktgen/?.lua"
require "Pktgen"

site = {
    clients_port = "0",                     -- Pktgen's port towards weir's "wan"
    servers_port = "1",                     -- Pktgen's port towards weir's "lan"
    director_mac = "02:00:00:00:00:d1",     -- weir's MAC address on "wan", as `weir ports` shows it
    vip = "192.0.2.100", vport = 9000,
    first_client = "198.51.100.1", last_client = "198.51.100.61",
    n_clients = 61,                         -- as many as that, and a prime (see frames)
    first_cport = 10000,
    client_side = "192.0.2.1/24",           -- the router that weir.ron names: Pktgen answers ARP for it
    server_side = "10.0.0.11/24",           -- the real server that weir.ron names: likewise
    trial_seconds = 10,
    sizes = { 64, 128, 256, 512, 1024, 1280, 1518 },            -- of frames, for throughput.lua
    no_loss_sizes = { 64, 512, 1518 },                          -- for no-loss.lua
    max_flows = 8192,                       -- at most as many as Pktgen has buffers a port (README.md)
}

-- `site` from elsewhere: a file named by WEIR_SITE changes some of its values.
local changed = os.getenv("WEIR_SITE")
if changed then dofile(changed) end

local out = io.open(os.getenv("WEIR_OUTCOME") or "outcome.txt", "a")
function say(...)
    local line = string.format(...)
    out:write(line, "\n")
    out:flush()
    print(line)
end

-- Frames of `size` bytes, the check sequence included, of about that many flows: UDP from the clients to the VIP.
-- Returns how many flows they are. Pktgen takes the next address and the next L4 port together with each frame: all
-- pairs come up only if the two numbers have no common divisor.
function frames(size, n_flows)
    local port = site.clients_port
    local n_clients, n_cports, last = 1, n_flows, site.first_client
    if n_flows >= site.n_clients then
        n_clients, n_cports, last = site.n_clients, math.floor(n_flows / site.n_clients), site.last_client
        if n_cports % n_clients == 0 then n_cports = n_cports - 1 end
    end
    pktgen.set_proto(port, "udp")
    pktgen.range.ip_proto(port, "udp")
    for _, one in ipairs({ "start", "min", "max" }) do
        pktgen.range.dst_mac(port, one, site.director_mac)
        pktgen.range.dst_ip(port, one, site.vip)
        pktgen.range.dst_port(port, one, site.vport)
        pktgen.range.pkt_size(port, one, size)
    end
    pktgen.range.dst_mac(port, "inc", "00:00:00:00:00:00")
    pktgen.range.dst_ip(port, "inc", "0.0.0.0")
    pktgen.range.dst_port(port, "inc", 0)
    pktgen.range.pkt_size(port, "inc", 0)
    pktgen.range.src_ip(port, "start", site.first_client)
    pktgen.range.src_ip(port, "min", site.first_client)
    pktgen.range.src_ip(port, "max", last)
    pktgen.range.src_ip(port, "inc", n_clients > 1 and "0.0.0.1" or "0.0.0.0")
    pktgen.range.src_port(port, "start", site.first_cport)
    pktgen.range.src_port(port, "min", site.first_cport)
    pktgen.range.src_port(port, "max", site.first_cport + n_cports - 1)
    pktgen.range.src_port(port, "inc", n_cports > 1 and 1 or 0)
    pktgen.set_range(port, "on")
    return n_clients * n_cports
end

-- Both of Pktgen's ports answer ARP, so that weir finds the router and the real server.
function prepare()
    pktgen.set_ipaddr(site.clients_port, "src", site.client_side)
    pktgen.set_ipaddr(site.servers_port, "src", site.server_side)
    pktgen.process("all", "on")
    pktgen.set("all", "count", 0)
    pktgen.delay(3000)
end

local function counts()
    local sent = pktgen.portStats(site.clients_port, "port")[tonumber(site.clients_port)]
    local got = pktgen.portStats(site.servers_port, "port")[tonumber(site.servers_port)]
    return sent.opackets, got.ipackets
end

-- Sends at `rate` percent of the port's speed; frames sent and got, and both per second.
function trial(rate, seconds)
    seconds = seconds or site.trial_seconds
    pktgen.set(site.clients_port, "rate", rate)
    pktgen.clr()
    pktgen.delay(500)
    local sent_before, got_before = counts()
    pktgen.start(site.clients_port)
    pktgen.delay(seconds * 1000)
    pktgen.stop(site.clients_port)
    -- What is still under way arrives.
    pktgen.delay(2000)
    local sent, got = counts()
    sent, got = sent - sent_before, got - got_before
    return { sent = sent, got = got, sent_a_second = sent / seconds, got_a_second = got / seconds }
end
