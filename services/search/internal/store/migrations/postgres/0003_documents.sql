-- +goose Up

-- How a collection's documents are cut. Empty, 0 and -1: the service's way.
ALTER TABLE search_collections ADD COLUMN chunk_by TEXT NOT NULL DEFAULT '';
ALTER TABLE search_collections ADD COLUMN chunk_words INTEGER NOT NULL DEFAULT 0;
ALTER TABLE search_collections ADD COLUMN chunk_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE search_collections ADD COLUMN chunk_overlap INTEGER NOT NULL DEFAULT -1;

-- Whether a document with an end was ever written; when one ends, 0: never.
ALTER TABLE search_collections ADD COLUMN expires INTEGER NOT NULL DEFAULT 0;
ALTER TABLE search_documents ADD COLUMN expire_time BIGINT NOT NULL DEFAULT 0;

CREATE INDEX search_documents_expire ON search_documents (expire_time, collection) WHERE expire_time > 0;

-- +goose Down

DROP INDEX search_documents_expire;
ALTER TABLE search_documents DROP COLUMN expire_time;
ALTER TABLE search_collections DROP COLUMN expires;
ALTER TABLE search_collections DROP COLUMN chunk_overlap;
ALTER TABLE search_collections DROP COLUMN chunk_tokens;
ALTER TABLE search_collections DROP COLUMN chunk_words;
ALTER TABLE search_collections DROP COLUMN chunk_by;
