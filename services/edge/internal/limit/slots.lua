-- Slots of what is in hand at once. KEYS: the buckets, each a sorted set of slots by
-- when they end unless they are kept up. ARGV: the mode (take, keep or end), the slot,
-- for how long it counts in microseconds, and for take each bucket's limit.
-- Answers: for take, the number of the first bucket that is full (0: none), and how
-- many each has in hand, this one included.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local mode, ttl = ARGV[1], tonumber(ARGV[3])

if mode == 'end' then
  for i = 1, #KEYS do redis.call('ZREM', KEYS[i], ARGV[2]) end
  return {}
end
if mode == 'keep' then
  -- One bucket, and as many slots as follow.
  for i = 4, #ARGV do redis.call('ZADD', KEYS[1], now + ttl, ARGV[i]) end
  redis.call('PEXPIRE', KEYS[1], math.ceil(ttl / 1000))
  return {}
end

local full, out = 0, {}
for i = 1, #KEYS do
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now)
  out[i + 1] = redis.call('ZCARD', KEYS[i])
  local most = tonumber(ARGV[3 + i])
  if most > 0 and out[i + 1] >= most and full == 0 then full = i end
end
out[1] = full
if mode == 'take' and full == 0 then
  for i = 1, #KEYS do
    redis.call('ZADD', KEYS[i], now + ttl, ARGV[2])
    redis.call('PEXPIRE', KEYS[i], math.ceil(ttl / 1000))
    out[i + 1] = out[i + 1] + 1
  end
end
return out
