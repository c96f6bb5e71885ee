-- Throughput of 64-byte frames by the number of flows.
dofile((os.getenv("WEIR_PKTGEN") or ".") .. "/setup.lua")

prepare()
say("# flows sent_per_s forwarded_per_s forwarded_percent")
local n_flows = 1
while n_flows <= site.max_flows do
    local n_made = frames(64, n_flows)
    trial(100, 1)    -- opens the connections
    local outcome = trial(100)
    say("%d %.0f %.0f %.2f", n_made, outcome.sent_a_second, outcome.got_a_second,
        100 * outcome.got / math.max(1, outcome.sent))
    n_flows = n_flows * 8
end
pktgen.quit()
