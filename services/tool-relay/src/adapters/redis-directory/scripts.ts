import { type Script, script as scriptOf } from '@zerolatency/service/redis';

/**
 * A device is one hash: `last`, the largest epoch ever given out; `epoch`,
 * `entry` and `expires`, the lease that holds; `over`, the largest epoch of a
 * socket that is over, so that no older lease comes back; `withdrawn`, the
 * largest epoch that was withdrawn while a newer lease held. The ids of a
 * tenant are an ordered set beside it. All keys of a tenant have one hash tag.
 *
 * A key of another type is replaced, and an epoch far ahead of the time of day
 * does not count: what is not ours heals with the next renewal.
 */
const PRELUDE = `
local function fields(key, ...)
  local found = redis.pcall('HMGET', key, ...)
  if found.err then redis.call('DEL', key) return {} end
  return found
end
local function epochOf(field, unixMs)
  local epoch = tonumber(field)
  if not epoch or epoch ~= epoch or epoch > unixMs + 31536000000 then return 0 end
  return epoch
end
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function enter(index, id, keepMs)
  if type(redis.pcall('ZADD', index, 0, id)) == 'table' then
    redis.call('DEL', index)
    redis.call('ZADD', index, 0, id)
  end
  redis.call('PEXPIRE', index, keepMs)
end
local function drop(key, index, id)
  redis.call('HDEL', key, 'epoch', 'entry', 'expires')
  redis.pcall('ZREM', index, id)
end
`;

/** ARGV: device id, unixMs, keepMs, entry, ttlMs, lastEpoch. Returns the epoch, and epoch, entry and expiry of the lease before. */
export const ACQUIRE = script(`
local unixMs = tonumber(ARGV[2])
local found = fields(KEYS[1], 'last', 'epoch', 'entry', 'expires')
local epoch = math.max(epochOf(found[1], unixMs) + 1, epochOf(found[2], unixMs) + 1,
  epochOf(ARGV[6], unixMs) + 1, unixMs)
redis.call('HSET', KEYS[1], 'last', epoch, 'epoch', epoch, 'entry', ARGV[4], 'expires', now() + ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
enter(KEYS[2], ARGV[1], ARGV[3])
return {epoch, found[2], found[3], found[4]}
`);

/** ARGV: device id, unixMs, keepMs, epoch, and epoch, entry and expiry of the lease before. */
export const WITHDRAW = script(`
local unixMs, mine = tonumber(ARGV[2]), tonumber(ARGV[4])
local found = fields(KEYS[1], 'epoch', 'over', 'withdrawn')
local over, withdrawn = epochOf(found[2], unixMs), epochOf(found[3], unixMs)
if tonumber(found[1]) ~= mine then
  redis.call('HSET', KEYS[1], 'withdrawn', math.max(withdrawn, mine))
elseif (tonumber(ARGV[5]) or 0) > math.max(over, withdrawn) then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[5], 'entry', ARGV[6], 'expires', ARGV[7])
else
  drop(KEYS[1], KEYS[2], ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
`);

/** ARGV: device id, unixMs, keepMs, epoch, entry, ttlMs. Returns 0 when a newer socket has the device. */
export const RENEW = script(`
local unixMs, mine = tonumber(ARGV[2]), tonumber(ARGV[4])
local found = fields(KEYS[1], 'last', 'epoch', 'over')
if math.max(epochOf(found[2], unixMs), epochOf(found[3], unixMs)) > mine then return 0 end
local last = math.max(epochOf(found[1], unixMs), mine)
redis.call('HSET', KEYS[1], 'last', last, 'epoch', mine, 'entry', ARGV[5], 'expires', now() + ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
enter(KEYS[2], ARGV[1], ARGV[3])
return 1
`);

/** ARGV: device id, unixMs, keepMs, epoch. */
export const RELEASE = script(`
local unixMs, mine = tonumber(ARGV[2]), tonumber(ARGV[4])
local found = fields(KEYS[1], 'last', 'epoch', 'over')
local last = math.max(epochOf(found[1], unixMs), mine)
redis.call('HSET', KEYS[1], 'last', last, 'over', math.max(epochOf(found[3], unixMs), mine))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if tonumber(found[2]) == mine then drop(KEYS[1], KEYS[2], ARGV[1]) end
return 1
`);

/** Returns epoch and entry of the lease that holds, if one does. */
export const LOCATE = script(`
local found = fields(KEYS[1], 'epoch', 'entry', 'expires')
if (tonumber(found[3]) or 0) <= now() then return {} end
return {found[1], found[2]}
`);

/**
 * KEYS: the index. ARGV: prefix of the device keys, id to begin after, ids to
 * look at, leases to find. Returns the last id it looked at, if any, and id,
 * epoch and entry of each lease that holds. The ids of others leave the index.
 */
export const LIST = script(`
local from = ARGV[2] == '' and '-' or '(' .. ARGV[2]
local ids = redis.pcall('ZRANGEBYLEX', KEYS[1], from, '+', 'LIMIT', 0, ARGV[3])
if ids.err then redis.call('DEL', KEYS[1]) return {} end
local answer, time, wanted = {}, now(), tonumber(ARGV[4])
for _, id in ipairs(ids) do
  if wanted == 0 then break end
  answer[1] = id
  local found = fields(ARGV[1] .. id, 'epoch', 'entry', 'expires')
  if (tonumber(found[3]) or 0) > time then
    answer[#answer + 1] = id
    answer[#answer + 1] = found[1]
    answer[#answer + 1] = found[2]
    wanted = wanted - 1
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return answer
`);

/** KEYS: the name of a pod. ARGV: instance, ttlMs. Returns the other instance that has it and for how long, if one does. */
export const CLAIM = script(`
local holder = redis.pcall('GET', KEYS[1])
if type(holder) == 'string' and holder ~= ARGV[1] then return {holder, redis.call('PTTL', KEYS[1])} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {}
`);

/**
 * KEYS: the pods. ARGV: relay id, value, ttlMs, most pods, longest value, longest ttlMs. Returns
 * name and value of each pod whose time is not over. What no pod writes is removed: a key of
 * another type or with too many fields, long values, and times that are too far ahead.
 */
export const PODS = script(`
local time = now()
local count = redis.pcall('HLEN', KEYS[1])
if type(count) == 'table' or count > tonumber(ARGV[4]) then redis.call('UNLINK', KEYS[1]) end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d %s', time + ARGV[3], ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[6])
local answer = {}
for _, id in ipairs(redis.call('HKEYS', KEYS[1])) do
  local isShort = redis.call('HSTRLEN', KEYS[1], id) <= tonumber(ARGV[5])
  local value = isShort and redis.call('HGET', KEYS[1], id) or ''
  local expires, record = string.match(value, '^(%d+) (.*)$')
  expires = tonumber(expires)
  if expires and expires > time and expires <= time + ARGV[6] then
    answer[#answer + 1] = id
    answer[#answer + 1] = record
  else
    redis.call('HDEL', KEYS[1], id)
  end
end
return answer
`);

/** KEYS: the pods. ARGV: relay id. */
export const LEAVE = script(`
redis.pcall('HDEL', KEYS[1], ARGV[1])
return 1
`);

/** KEYS: the name of a pod. ARGV: instance. */
export const DISCLAIM = script(`
if redis.pcall('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
`);

function script(body: string): Script {
  return scriptOf(PRELUDE + body);
}
