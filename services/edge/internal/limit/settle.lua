-- Takes from buckets whatever is left, or gives back. KEYS: the buckets. ARGV, three
-- for each: the interval in microseconds, the burst, and how much: negative is given
-- back.
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000000 + tonumber(time[2])

local kept = redis.call('MGET', unpack(KEYS))
for i = 1, #KEYS do
  local interval, burst, cost = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local tat = tonumber(kept[i] or now)
  if tat < now then tat = now end
  tat = math.min(tat + interval * cost, now + 16 * interval * burst)
  if tat > now then
    redis.call('SET', KEYS[i], string.format('%.3f', tat), 'PX', math.ceil((tat - now) / 1000) + 1)
  elseif kept[i] then
    redis.call('DEL', KEYS[i])
  end
end
return {}
