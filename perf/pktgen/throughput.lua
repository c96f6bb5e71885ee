-- Throughput by frame size: what comes out when more comes in than can be forwarded.
dofile((os.getenv("WEIR_PKTGEN") or ".") .. "/setup.lua")

prepare()
say("# size_bytes sent_per_s forwarded_per_s forwarded_percent")
for _, size in ipairs(site.sizes) do
    frames(size, math.min(1024, site.max_flows))
    trial(100, 1)    -- opens the connections
    local outcome = trial(100)
    say("%d %.0f %.0f %.2f", size, outcome.sent_a_second, outcome.got_a_second,
        100 * outcome.got / math.max(1, outcome.sent))
end
pktgen.quit()
