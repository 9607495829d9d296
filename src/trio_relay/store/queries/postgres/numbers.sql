-- name: event_log()^
-- Where the log stands: gone up to trimmed_to, complete up to horizon. No event at or below the horizon can still
-- commit, although ids are given before the commit: see event_horizon() in the schema.
SELECT trimmed_to, event_horizon() AS horizon FROM event_log;

-- name: latest_numbers()^
-- The highest id ever given to a message, and the highest arrival number, when nobody is about to use a lower one.
SELECT message_id, inbox_seq FROM latest_numbers();

-- name: insert_message(sender, target, channel, subject, body, reply_to, thread_id, hop, path, claimable, type, meta, authority, expires_at, supersedes, collapse_key, words, now)<!
-- A message is accepted, with the words by which it is found. One that answers nothing (thread_id 0) begins a thread
-- of its own, whose id is the one it gets.
INSERT INTO messages (id, sender, target, channel, subject, body, reply_to, thread_id, hop, path, claimable, type, meta,
                      authority, expires_at, supersedes, collapse_key, words, created_at)
VALUES (nextval('messages_id_seq'), :sender, :target, :channel, :subject, :body, :reply_to,
        CASE WHEN :thread_id = 0 THEN currval('messages_id_seq') ELSE :thread_id END,
        :hop, :path, :claimable, :type, :meta, :authority, :expires_at, :supersedes, :collapse_key, :words::tsvector,
        :now);
