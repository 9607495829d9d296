-- name: count_unread(limit)^
-- Deliveries neither read nor ended, counted up to a limit.
SELECT count(*) FROM (SELECT 1 FROM inbox WHERE read_at IS NULL LIMIT :limit) AS counted;

-- name: count_looking(limit)^
-- Messages nobody has matched, among so many that still look for takers.
SELECT count(*) FROM (SELECT kind FROM open_targets LIMIT :limit) AS counted WHERE kind = 'parked';
