-- Takes from buckets whatever is left, or gives back. KEYS[1]: the number of the last
-- settlement of this replica; then the buckets. ARGV[1]: the number of this one, which
-- is made once however often it is asked for; then five for each bucket: the interval in
-- microseconds, the burst, how much since ARGV + 5 microseconds ago (negative is given
-- back), and how much of that at least is not refilled yet.
-- Answers: how long until each is full, in microseconds.
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000000 + tonumber(time[2])
local made = tonumber(redis.call('GET', KEYS[1]) or 0) >= tonumber(ARGV[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', 3600000)

local out = {}
for i = 2, #KEYS do
  local at = 5 * (i - 2) + 1
  local interval, burst, cost = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local fresh, since = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local kept = redis.call('GET', KEYS[i])
  local tat = tonumber(kept or 0)
  if not made then
    tat = math.max(math.max(tat, now - since) + interval * cost, math.max(tat, now) + interval * fresh)
    tat = math.min(tat, now + 16 * interval * burst)
    if tat > now then
      redis.call('SET', KEYS[i], string.format('%.3f', tat), 'PX', math.ceil((tat - now) / 1000) + 1)
    elseif kept then
      redis.call('DEL', KEYS[i])
    end
  end
  out[i - 1] = math.ceil(math.max(tat - now, 0))
end
return out
