-- +goose Up
CREATE TABLE search_collections (
  tenant           TEXT COLLATE "C"    NOT NULL,
  id               TEXT COLLATE "C"    NOT NULL,
  uid              TEXT    NOT NULL UNIQUE, -- never used again, also not for a collection of the same name
  display_name     TEXT    NOT NULL,
  embedding_model  TEXT    NOT NULL,
  embedding_digest TEXT    NOT NULL DEFAULT '',
  dimensions       INTEGER NOT NULL DEFAULT 0,
  document_count   INTEGER NOT NULL DEFAULT 0,
  chunk_count      INTEGER NOT NULL DEFAULT 0,
  generation       BIGINT  NOT NULL,
  forgotten        BIGINT  NOT NULL, -- removals up to this generation are not listed any more
  create_time      BIGINT  NOT NULL, -- nanoseconds since 1970, as every time here
  update_time      BIGINT  NOT NULL,
  PRIMARY KEY (tenant, id)
);

CREATE TABLE search_documents (
  collection   TEXT    NOT NULL REFERENCES search_collections (uid) ON DELETE CASCADE,
  id           TEXT COLLATE "C"    NOT NULL,
  no           BIGINT  NOT NULL, -- the generation that wrote this version
  title        TEXT    NOT NULL,
  text         TEXT    NOT NULL,
  metadata     TEXT    NOT NULL, -- JSON
  acl          TEXT,             -- JSON list of principals; null: everybody in the tenant
  content_hash TEXT    NOT NULL,
  text_hash    TEXT    NOT NULL, -- of what the vectors were made from
  chunk_count  INTEGER NOT NULL,
  create_time  BIGINT  NOT NULL,
  update_time  BIGINT  NOT NULL,
  PRIMARY KEY (collection, id)
);

CREATE UNIQUE INDEX search_documents_no ON search_documents (collection, no);

CREATE TABLE search_chunks (
  collection   TEXT    NOT NULL REFERENCES search_collections (uid) ON DELETE CASCADE,
  no           BIGINT  NOT NULL,
  number       INTEGER NOT NULL,
  start_offset INTEGER NOT NULL,
  end_offset   INTEGER NOT NULL,
  terms        INTEGER NOT NULL,
  text         TEXT    NOT NULL,
  vector       BYTEA   NOT NULL, -- little-endian float32
  PRIMARY KEY (collection, no, number)
);

CREATE TABLE search_principals (
  collection TEXT NOT NULL REFERENCES search_collections (uid) ON DELETE CASCADE,
  principal  TEXT COLLATE "C" NOT NULL,
  document   TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (collection, principal, document)
);

CREATE INDEX search_principals_document ON search_principals (collection, document);

CREATE TABLE search_removals (
  collection TEXT   NOT NULL REFERENCES search_collections (uid) ON DELETE CASCADE,
  generation BIGINT NOT NULL,
  no         BIGINT NOT NULL,
  PRIMARY KEY (collection, generation, no)
);
