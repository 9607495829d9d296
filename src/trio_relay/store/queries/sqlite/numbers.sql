-- name: event_log()^
-- Where the log stands: gone up to trimmed_to, complete up to horizon. No event at or below the horizon can still
-- commit: here there is one writer, so ids commit in order and the horizon is the highest id ever given.
SELECT trimmed_to, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0) AS horizon FROM event_log;

-- name: latest_numbers()^
-- The highest id ever given to a message, and the highest arrival number.
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0) AS message_id,
       coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'inbox'), 0) AS inbox_seq;
