-- +goose Up

-- The processes that search by indexes of their own, and which embedding
-- generations that are to serve they have an index of. Rows of processes that
-- have ended grow old.
CREATE TABLE search_followers (
  collection           TEXT    NOT NULL REFERENCES search_collections (uid) ON DELETE CASCADE,
  embedding_generation INTEGER NOT NULL,
  process              TEXT    NOT NULL,
  seen                 BIGINT  NOT NULL, -- when it said so last, nanoseconds
  indexed              INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (collection, embedding_generation, process)
);

-- +goose Down

DROP TABLE search_followers;
