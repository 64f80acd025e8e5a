-- GCRA, as in gcra.go. KEYS[1]: the bucket. ARGV: the interval in which one
-- request is refilled in microseconds, the burst, the cost.
-- Answers: allowed (1 or 0), remaining, reset after and retry after in
-- microseconds.
local interval = tonumber(ARGV[1])
local burst = tonumber(ARGV[2])
local cost = tonumber(ARGV[3])
-- Counted from 2026, so that a double keeps fractions of a microsecond.
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000000 + tonumber(time[2])

local tolerance = interval * burst
local tat = tonumber(redis.call('GET', KEYS[1]) or now)
if tat < now then tat = now end
local next = tat + interval * cost
local wait = next - tolerance - now
if wait > 0.001 then
  local reset = tat - now
  local most = reset
  if most < interval then most = interval end
  if wait > most then wait = most end
  return {0, math.floor((now + tolerance - tat) / interval + 0.0001), math.ceil(reset), math.ceil(wait)}
end
if next > now then
  -- Kept a little longer than it says anything, never shorter.
  redis.call('SET', KEYS[1], string.format('%.3f', next), 'PX', math.ceil((next - now) / 1000) + 1)
end
return {1, math.floor((now + tolerance - next) / interval + 0.0001), math.ceil(next - now), 0}
