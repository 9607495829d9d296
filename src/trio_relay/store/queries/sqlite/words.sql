-- name: agents_of_provider(provider)
-- Who is not offline and runs under a provider's program: its rig or client is that word, or that word and a dash.
SELECT * FROM agents
WHERE status IN ('online', 'idle', 'busy')
  AND (lower(rig) = :provider OR substr(lower(rig), 1, length(:provider) + 1) = :provider || '-'
       OR lower(json_extract(meta, '$.client')) = :provider
       OR substr(lower(json_extract(meta, '$.client')), 1, length(:provider) + 1) = :provider || '-')
ORDER BY id;

-- name: search_messages(words, before, limit)
-- Full text, newest first.
SELECT m.* FROM messages_text AS t JOIN messages_with_claim AS m ON m.id = t.rowid
WHERE messages_text MATCH :words AND t.rowid < :before
ORDER BY t.rowid DESC LIMIT :limit;

-- name: events_about(message_id)
-- The log lines about one message.
SELECT id, type, at, data FROM events WHERE json_extract(data, '$.messageId') = :message_id ORDER BY id LIMIT 200;
