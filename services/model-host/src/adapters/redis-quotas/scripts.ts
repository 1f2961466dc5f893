import { type Script, script as scriptOf } from '@zerolatency/service/redis';

/**
 * An owner's limits are one hash: a theoretical arrival time (TAT) of GCRA for each dimension, in
 * milliseconds by the clock of Redis, so that the clocks of pods do not count. Its open turns are a
 * sorted set by the time their leases expire.
 *
 * A key of another type is replaced, and a TAT counts as at most two bursts ahead: what is not
 * ours, and a clock that was set back, heal by themselves.
 */
const PRELUDE = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local function tatOf(key, field, toleranceMs)
  local found = redis.pcall('HGET', key, field)
  if type(found) == 'table' then redis.call('DEL', key) found = nil end
  local tat = tonumber(found) or 0
  if tat ~= tat then tat = 0 end
  return math.max(now, math.min(tat, now + 2 * toleranceMs))
end
local function put(key, field, tat, toleranceMs)
  if tat <= now then redis.call('HDEL', key, field) return end
  tat = math.min(tat, now + 2 * toleranceMs)
  redis.call('HSET', key, field, string.format('%.3f', tat))
  local leftMs = math.ceil(tat - now) + 1000
  if redis.call('PTTL', key) < leftMs then redis.call('PEXPIRE', key, leftMs) end
end
local function heldIn(key)
  if type(redis.pcall('ZREMRANGEBYSCORE', key, '-inf', now)) == 'table' then redis.call('DEL', key) end
  return redis.call('ZCARD', key)
end
`;

/**
 * All or nothing. KEYS: hash and open turns of the tenant, then of the user. ARGV: the turn, its
 * lease in ms, most turns of the tenant and of the user (0 for no limit); then of each charge the
 * index of its hash, field, cost and tolerance in ms. Returns the index of the charge that has to
 * wait longest and its wait in microseconds; 0 where none has to; -1 or -2 where the tenant or the
 * user has no turn left.
 */
export const TAKE = script(`
for owner = 1, 2 do
  local most = tonumber(ARGV[2 + owner])
  local held = most > 0 and heldIn(KEYS[2 * owner]) or 0
  if most > 0 and held >= most and not redis.call('ZSCORE', KEYS[2 * owner], ARGV[1]) then
    return {-owner, 0}
  end
end
local worst, index, after = 0.001, 0, {}
for at = 5, #ARGV, 4 do
  local costMs, toleranceMs = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  after[at] = tatOf(KEYS[tonumber(ARGV[at])], ARGV[at + 1], toleranceMs) + costMs
  local waitMs = after[at] - now - toleranceMs
  if waitMs > worst then worst, index = waitMs, (at - 1) / 4 end
end
if index > 0 then return {index, math.ceil(worst * 1000)} end
for at = 5, #ARGV, 4 do
  put(KEYS[tonumber(ARGV[at])], ARGV[at + 1], after[at], tonumber(ARGV[at + 3]))
end
for owner = 1, 2 do
  if tonumber(ARGV[2 + owner]) > 0 then
    redis.call('ZADD', KEYS[2 * owner], now + ARGV[2], ARGV[1])
    redis.call('PEXPIRE', KEYS[2 * owner], 2 * ARGV[2])
  end
end
return {0, 0}
`);

/** Adds without checking the limit. KEYS: the hash of an owner. ARGV: of each charge field, ms (negative to give back) and tolerance. */
export const ADD = script(`
for at = 1, #ARGV, 3 do
  local toleranceMs = tonumber(ARGV[at + 2])
  put(KEYS[1], ARGV[at], tatOf(KEYS[1], ARGV[at], toleranceMs) + ARGV[at + 1], toleranceMs)
end
return 1
`);

/** KEYS: the open turns of an owner. ARGV: lease in ms, turns of this pod. They count again even where they had expired. */
export const RENEW = script(`
heldIn(KEYS[1])
for at = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[at]) end
redis.call('PEXPIRE', KEYS[1], 2 * ARGV[1])
return 1
`);

/** KEYS: the open turns of an owner. ARGV: the turn. */
export const RELEASE = script(`
redis.pcall('ZREM', KEYS[1], ARGV[1])
return 1
`);

function script(body: string): Script {
  return scriptOf(PRELUDE + body);
}
