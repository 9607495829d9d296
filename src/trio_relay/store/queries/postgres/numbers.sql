-- name: event_log()^
-- Where the log stands: gone up to trimmed_to, complete up to horizon. No event at or below the horizon can still
-- commit, although ids are given before the commit: see event_horizon() in the schema.
SELECT trimmed_to, event_horizon() AS horizon FROM event_log;

-- name: latest_numbers()^
-- The highest id ever given to a message, and the highest arrival number, when nobody is about to use a lower one.
SELECT message_id, inbox_seq FROM latest_numbers();
