-- GCRA on several buckets, as in gcra.go: what all need is taken, or nothing. KEYS:
-- the buckets. ARGV, four for each: the interval in which one unit is refilled in
-- microseconds, the burst, the need, and how much more is wanted as a lease, which
-- gets at most half of what is then left.
-- Answers, five for each: had what it needed (1 or 0), leased, remaining, reset
-- after and retry after in microseconds.
-- Counted from 2026, so that a double keeps fractions of a microsecond.
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000000 + tonumber(time[2])

local kept = redis.call('MGET', unpack(KEYS))
local tats, waits, refused = {}, {}, false
for i = 1, #KEYS do
  local interval, burst, need = tonumber(ARGV[4 * i - 3]), tonumber(ARGV[4 * i - 2]), tonumber(ARGV[4 * i - 1])
  local tat = tonumber(kept[i] or now)
  if tat < now then tat = now end
  tats[i] = tat
  waits[i] = need > 0 and tat + interval * need - interval * burst - now or 0
  if waits[i] > 0.001 then refused = true end
end

local out = {}
for i = 1, #KEYS do
  local interval, burst, need = tonumber(ARGV[4 * i - 3]), tonumber(ARGV[4 * i - 2]), tonumber(ARGV[4 * i - 1])
  local tat, leased = tats[i], 0
  if not refused then
    tat = tat + interval * need
    leased = math.min(tonumber(ARGV[4 * i]), math.floor((now + interval * burst - tat) / interval / 2 + 0.0001))
    if leased < 0 then leased = 0 end
    tat = tat + interval * leased
    if tat > tats[i] then
      -- Kept a little longer than it says anything, never shorter.
      redis.call('SET', KEYS[i], string.format('%.3f', tat), 'PX', math.ceil((tat - now) / 1000) + 1)
    end
  end
  local had, retry = 1, 0
  if waits[i] > 0.001 then had, retry = 0, math.ceil(waits[i]) end
  local left = math.floor((now + interval * burst - tat) / interval + 0.0001)
  if left < 0 then left = 0 end
  local at = 5 * (i - 1)
  out[at + 1], out[at + 2], out[at + 3], out[at + 4], out[at + 5] = had, leased, left, math.ceil(tat - now), retry
end
return out
