-- +goose Up

-- Embedding generations: all passages of a collection as one model version,
-- chunking and analyser made them. What there was becomes number 1, serving.
ALTER TABLE search_collections ADD COLUMN embedding_generation INTEGER NOT NULL DEFAULT 1; -- the one that serves
ALTER TABLE search_collections ADD COLUMN serving_since BIGINT NOT NULL DEFAULT 1; -- the generation that began with
ALTER TABLE search_collections ADD COLUMN embedding_generations INTEGER NOT NULL DEFAULT 1; -- the last number given

CREATE TABLE search_embedding_generations (
  collection       TEXT    NOT NULL REFERENCES search_collections (uid) ON DELETE CASCADE,
  number           INTEGER NOT NULL, -- never used again
  embedding_model  TEXT    NOT NULL,
  embedding_digest TEXT    NOT NULL DEFAULT '',
  dimensions       INTEGER NOT NULL DEFAULT 0,
  chunking         TEXT    NOT NULL DEFAULT '', -- JSON; empty: the service's
  analyser         INTEGER NOT NULL, -- the version that counted the passages' terms
  state            TEXT    NOT NULL, -- building, ready, serving, retired, failed or removing
  reason           TEXT    NOT NULL DEFAULT '',
  serve_when_ready INTEGER NOT NULL DEFAULT 0,
  through          BIGINT  NOT NULL DEFAULT 0, -- it has every version up to this generation; while it serves, all
  rate             DOUBLE PRECISION NOT NULL DEFAULT 0, -- documents a second, of late
  create_time      BIGINT  NOT NULL,
  ready_time       BIGINT  NOT NULL DEFAULT 0,
  serve_time       BIGINT  NOT NULL DEFAULT 0,
  retire_time      BIGINT  NOT NULL DEFAULT 0,
  lease_holder     TEXT    NOT NULL DEFAULT '',
  lease_until      BIGINT  NOT NULL DEFAULT 0,
  lease_token      BIGINT  NOT NULL DEFAULT 0, -- grows with every holder: whoever had it before writes no more
  PRIMARY KEY (collection, number)
);

-- The versions that could not be embedded.
CREATE TABLE search_embedding_failures (
  collection           TEXT    NOT NULL REFERENCES search_collections (uid) ON DELETE CASCADE,
  embedding_generation INTEGER NOT NULL,
  no                   BIGINT  NOT NULL,
  reason               TEXT    NOT NULL,
  PRIMARY KEY (collection, embedding_generation, no)
);

INSERT INTO search_embedding_generations
  (collection, number, embedding_model, embedding_digest, dimensions, analyser, state, create_time, ready_time, serve_time)
SELECT uid, 1, embedding_model, embedding_digest, dimensions, 1, 'serving', create_time, create_time, create_time
FROM search_collections;

ALTER TABLE search_chunks ADD COLUMN embedding_generation INTEGER NOT NULL DEFAULT 1;
ALTER TABLE search_chunks DROP CONSTRAINT search_chunks_pkey;
ALTER TABLE search_chunks ADD PRIMARY KEY (collection, embedding_generation, no, number);

-- +goose Down

DELETE FROM search_chunks c USING search_collections s
WHERE s.uid = c.collection AND s.embedding_generation <> c.embedding_generation;
ALTER TABLE search_chunks DROP CONSTRAINT search_chunks_pkey;
ALTER TABLE search_chunks DROP COLUMN embedding_generation;
ALTER TABLE search_chunks ADD PRIMARY KEY (collection, no, number);
-- What is left is under number 1's index name: indexes are made anew.
UPDATE search_collections SET generation = generation + 1, forgotten = generation + 1 WHERE embedding_generation <> 1;
DROP TABLE search_embedding_failures;
DROP TABLE search_embedding_generations;
ALTER TABLE search_collections DROP COLUMN embedding_generations;
ALTER TABLE search_collections DROP COLUMN serving_since;
ALTER TABLE search_collections DROP COLUMN embedding_generation;
