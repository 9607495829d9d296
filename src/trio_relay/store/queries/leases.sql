-- name: open_lease(key)!
-- Something can now be claimed.
INSERT INTO leases (key, state) VALUES (:key, 'open');

-- name: get_lease(key)^
-- One lease.
SELECT * FROM leases WHERE key = :key;

-- name: claim_lease(key, holder, holder_epoch, token, now, expires_at, max_attempts)!
-- Compare and swap: open, or held by a lease that has run out. The row count is the verdict.
UPDATE leases
SET state = 'held', holder = :holder, holder_epoch = :holder_epoch, token = :token, epoch = epoch + 1,
    attempts = attempts + 1, claimed_at = :now, expires_at = :expires_at
WHERE key = :key AND (state = 'open' OR (state = 'held' AND expires_at <= :now)) AND attempts < :max_attempts;

-- name: renew_lease(key, holder, token, now, expires_at)!
-- The holder keeps it, while it has not run out.
UPDATE leases SET expires_at = :expires_at
WHERE key = :key AND state = 'held' AND holder = :holder AND token = :token AND expires_at > :now;

-- name: release_lease(key, holder, token, now)!
-- The holder gives it back, while it has not run out.
UPDATE leases SET state = 'open', holder = NULL, holder_epoch = NULL, token = NULL, claimed_at = NULL, expires_at = NULL
WHERE key = :key AND state = 'held' AND holder = :holder AND token = :token AND expires_at > :now;

-- name: complete_lease(key, holder, token, result, now)!
-- The holder is done, while its lease has not run out. The token stays, to know a repeated completion by.
UPDATE leases SET state = 'done', expires_at = NULL, result = :result
WHERE key = :key AND state = 'held' AND holder = :holder AND token = :token AND expires_at > :now;

-- name: close_lease(key)!
-- The work was ended from outside, whoever holds it.
UPDATE leases SET state = 'done', token = NULL, expires_at = NULL WHERE key = :key AND state <> 'done';

-- name: kill_lease(key)!
-- Handed out too often without completion: a dead letter.
UPDATE leases SET state = 'dead', holder = NULL, holder_epoch = NULL, token = NULL, expires_at = NULL
WHERE key = :key AND state = 'open';

-- name: revive_lease(key)!
-- A dead letter is driven again, with its attempts counted afresh.
UPDATE leases SET state = 'open', attempts = 0 WHERE key = :key AND state = 'dead';

-- name: take_back_lease(key, epoch)!
-- Taken from a holder that lapsed, left or was replaced.
UPDATE leases SET state = 'open', holder = NULL, holder_epoch = NULL, token = NULL, claimed_at = NULL, expires_at = NULL
WHERE key = :key AND state = 'held' AND epoch = :epoch;

-- name: lapsed_leases(now, limit)
-- Held leases that have run out.
SELECT key, epoch, holder FROM leases WHERE state = 'held' AND expires_at <= :now ORDER BY expires_at LIMIT :limit;

-- name: leases_held_by(holder)
-- What an agent holds.
SELECT key, epoch, holder FROM leases WHERE state = 'held' AND holder = :holder;
