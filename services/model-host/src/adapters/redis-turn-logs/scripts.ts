import { script } from '@zerolatency/service/redis';

// Times are those of Redis, so that the clocks of pods do not matter. A turn is a hash (pod, owner,
// session, last, until, ended, cancel, told) and a stream whose ids are the last sequence of a batch.
// Both keys have the turn's id in braces, so a Cluster keeps them in one slot.

const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)`;

/**
 * Appends a batch, or only renews the lease. Only the pod that began the log writes to it, and
 * nobody after its end. A batch that is repeated counts once.
 */
export const APPEND = script(`${NOW}
local pod, owner, session, begins, last, batch = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local keep_from, lease, ttl, ended = ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local turn = redis.call('HMGET', KEYS[1], 'pod', 'ended', 'last', 'cancel')
if turn[1] and turn[1] ~= pod then return {'fenced'} end
if turn[2] then return {turn[2] == ended and 'written' or 'fenced'} end
if not turn[1] then
  if begins == '' then return {'gone'} end
  redis.call('HSET', KEYS[1], 'pod', pod, 'owner', owner, 'session', session, 'last', 0)
end
if batch ~= '' and tonumber(last) > tonumber(turn[3] or 0) then
  redis.call('XADD', KEYS[2], 'MINID', keep_from, last .. '-0', 'b', batch)
  redis.call('HSET', KEYS[1], 'last', last)
end
redis.call('HSET', KEYS[1], 'until', now + lease)
if ended ~= '' then redis.call('HSET', KEYS[1], 'ended', ended) end
if turn[4] then redis.call('HSET', KEYS[1], 'told', 1) end
redis.call('PEXPIRE', KEYS[1], ttl)
redis.call('PEXPIRE', KEYS[2], ttl)
return {'written', turn[4] or ''}`);

/** What follows a sequence. With "may_end" a turn whose lease has run out is ended as lost. */
export const READ = script(`${NOW}
local owner, after, count, may_end = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local turn = redis.call('HMGET', KEYS[1], 'owner', 'session', 'last', 'ended', 'until')
if turn[1] ~= owner then return false end
local is_lapsed = not turn[4] and now > tonumber(turn[5])
if is_lapsed and may_end == '1' then
  turn[4] = 'lost'
  redis.call('HSET', KEYS[1], 'ended', 'lost')
end
local reply = {turn[2], turn[3], turn[4] or '', is_lapsed and '1' or ''}
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '(' .. after .. '-0', '+', 'COUNT', count)) do
  table.insert(reply, (string.gsub(entry[1], '-0$', '')))
  table.insert(reply, entry[2][2])
end
return reply`);

/** Asks the turn's pod to cancel it, and says whether it has read that. */
export const CANCEL = script(`${NOW}
local owner, may_end = ARGV[1], ARGV[2]
local turn = redis.call('HMGET', KEYS[1], 'owner', 'ended', 'until', 'told')
if turn[1] ~= owner then return false end
if turn[2] then return 'ended' end
if turn[4] then return 'told' end
if now > tonumber(turn[3]) then
  if may_end ~= '1' then return 'lapsed' end
  redis.call('HSET', KEYS[1], 'ended', 'lost')
  return 'ended'
end
redis.call('HSET', KEYS[1], 'cancel', owner)
return 'waiting'`);

export function keysOf(turnId: string): [turn: string, log: string] {
  return [`zl:turn:{${turnId}}`, `zl:turn:{${turnId}}:log`];
}
