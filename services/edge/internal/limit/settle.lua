-- Takes from buckets whatever is left, or gives back. KEYS[1]: the number of the last
-- settlement of this replica; then the buckets. ARGV[1]: the number of this one, which
-- is made once however often it is asked for. Then for each bucket the interval in
-- microseconds, the burst, and a number of parts; for each of these, how much (negative
-- is given back), and how many microseconds ago.
-- Answers: how long until each is full, in microseconds.
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000000 + tonumber(time[2])
local made = tonumber(redis.call('GET', KEYS[1]) or 0) >= tonumber(ARGV[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', 3600000)

local out, at = {}, 1
for i = 2, #KEYS do
  local interval, burst, parts = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  at = at + 3
  local kept = redis.call('GET', KEYS[i])
  local tat = tonumber(kept or 0)
  if not made then
    for p = 1, parts do
      local cost, ago = tonumber(ARGV[at + 2 * p - 1]), tonumber(ARGV[at + 2 * p])
      tat = math.max(tat, now - ago) + interval * cost
    end
    tat = math.min(tat, now + 16 * interval * burst)
    if tat > now then
      redis.call('SET', KEYS[i], string.format('%.3f', tat), 'PX', math.ceil((tat - now) / 1000) + 1)
    elseif kept then
      redis.call('DEL', KEYS[i])
    end
  end
  at = at + 2 * parts
  out[i - 1] = math.ceil(math.max(tat - now, 0))
end
return out
