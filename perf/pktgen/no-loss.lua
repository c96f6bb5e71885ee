-- The highest rate at which no frame is lost, by halving, as RFC 2544 section 26.1 has it: a trial without loss goes
-- higher, one with loss goes lower, until both are near each other.
dofile((os.getenv("WEIR_PKTGEN") or ".") .. "/setup.lua")

local NEAR_PERCENT = 0.5    -- of the port's speed

prepare()
say("# size_bytes rate_percent forwarded_per_s trials")
for _, size in ipairs(site.no_loss_sizes) do
    frames(size, math.min(1024, site.max_flows))
    trial(1, 1)    -- opens the connections
    local low, high, n_trials = 0, 100, 0
    local rate, best = high, nil
    while high - low > NEAR_PERCENT do
        local outcome = trial(rate)
        n_trials = n_trials + 1
        if outcome.sent > 0 and outcome.got >= outcome.sent then
            low, best = rate, outcome
            if rate >= high then break end
        else
            high = rate
        end
        rate = (low + high) / 2
    end
    if best then
        say("%d %.2f %.0f %d", size, low, best.got_a_second, n_trials)
    else
        say("%d none - %d", size, n_trials)
    end
end
pktgen.quit()
