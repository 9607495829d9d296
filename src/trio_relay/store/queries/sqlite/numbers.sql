-- name: event_log()^
-- Where the log stands: gone up to trimmed_to, complete up to horizon. No event at or below the horizon can still
-- commit: here there is one writer, so ids commit in order and the horizon is the highest id ever given.
SELECT trimmed_to, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0) AS horizon FROM event_log;

-- name: latest_numbers()^
-- The highest id ever given to a message, and the highest arrival number.
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0) AS message_id,
       coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'inbox'), 0) AS inbox_seq;

-- name: insert_message(sender, target, channel, subject, body, reply_to, thread_id, hop, path, claimable, type, meta, authority, expires_at, supersedes, collapse_key, now)<!
-- A message is accepted. One that answers nothing (thread_id 0) begins a thread of its own, whose id is the one it is
-- about to get.
INSERT INTO messages (sender, target, channel, subject, body, reply_to, thread_id, hop, path, claimable, type, meta,
                      authority, expires_at, supersedes, collapse_key, created_at)
VALUES (:sender, :target, :channel, :subject, :body, :reply_to,
        CASE WHEN :thread_id = 0
             THEN coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0) + 1 ELSE :thread_id END,
        :hop, :path, :claimable, :type, :meta, :authority, :expires_at, :supersedes, :collapse_key, :now);
