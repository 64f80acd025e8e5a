-- +goose Up

-- Every state that an alias has had: version 0 is "not there". There is no
-- reference to the model: what was stays when the model goes.
CREATE TABLE registry_alias_history (
    model        TEXT COLLATE "C" NOT NULL,
    alias        TEXT COLLATE "C" NOT NULL,
    revision     BIGINT NOT NULL,
    version      INTEGER NOT NULL,
    digest       TEXT NOT NULL,
    actor        TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    reason       TEXT NOT NULL,
    change_id    BIGINT NOT NULL,
    rollback_to  BIGINT NOT NULL,
    commit_time  BIGINT NOT NULL,
    PRIMARY KEY (model, alias, revision)
);

INSERT INTO registry_alias_history
SELECT a.model, a.name, a.revision, a.version, v.digest, COALESCE(c.actor, ''), '', '', 0, 0, a.update_time
FROM registry_aliases a
JOIN registry_versions v ON v.model = a.model AND v.number = a.version
LEFT JOIN registry_changes c ON c.revision = a.revision;

-- Every state that a split has had; arms is a list of arms in JSON, empty for
-- "no split".
CREATE TABLE registry_split_history (
    model       TEXT COLLATE "C" NOT NULL,
    revision    BIGINT NOT NULL,
    salt        TEXT NOT NULL,
    arms        TEXT NOT NULL,
    actor       TEXT NOT NULL,
    reason      TEXT NOT NULL,
    rollback_to BIGINT NOT NULL,
    commit_time BIGINT NOT NULL,
    PRIMARY KEY (model, revision)
);

INSERT INTO registry_split_history
SELECT s.model, s.revision, s.salt,
    (SELECT json_agg(json_build_object('name', a.name, 'version', a.version, 'weight', a.weight, 'digest', v.digest)
        ORDER BY a.position)::text
     FROM registry_arms a JOIN registry_versions v ON v.model = a.model AND v.number = a.version
     WHERE a.model = s.model),
    COALESCE(c.actor, ''), '', 0, s.update_time
FROM registry_splits s
LEFT JOIN registry_changes c ON c.revision = s.revision;

-- +goose StatementBegin
CREATE FUNCTION registry_history_kept() RETURNS trigger AS $$
BEGIN RAISE EXCEPTION 'history is only added to'; END;
$$ LANGUAGE plpgsql;
-- +goose StatementEnd
CREATE TRIGGER registry_alias_history_kept BEFORE UPDATE OR DELETE ON registry_alias_history
FOR EACH ROW EXECUTE FUNCTION registry_history_kept();
CREATE TRIGGER registry_split_history_kept BEFORE UPDATE OR DELETE ON registry_split_history
FOR EACH ROW EXECUTE FUNCTION registry_history_kept();

-- Which aliases a model protects: a list of patterns in JSON.
CREATE TABLE registry_alias_protection (
    model       TEXT COLLATE "C" PRIMARY KEY REFERENCES registry_models (name) ON DELETE CASCADE,
    patterns    TEXT NOT NULL,
    revision    BIGINT NOT NULL,
    update_time BIGINT NOT NULL
);

-- Changes that somebody asked for and another subject approves. The id is the
-- revision of the asking, revision that of the last thing that happened to it. A
-- pending one whose time is over has expired, whether or not its row says so.
CREATE TABLE registry_alias_changes (
    id           BIGINT PRIMARY KEY,
    model        TEXT COLLATE "C" NOT NULL REFERENCES registry_models (name) ON DELETE CASCADE,
    alias        TEXT COLLATE "C" NOT NULL,
    kind         INTEGER NOT NULL,
    from_version INTEGER NOT NULL,
    from_digest  TEXT NOT NULL,
    from_etag    TEXT NOT NULL,
    to_version   INTEGER NOT NULL,
    to_digest    TEXT NOT NULL,
    patterns     TEXT NOT NULL,
    rollback_to  BIGINT NOT NULL,
    requested_by TEXT NOT NULL,
    reason       TEXT NOT NULL,
    state        INTEGER NOT NULL,
    create_time  BIGINT NOT NULL,
    expire_time  BIGINT NOT NULL,
    decided_by   TEXT NOT NULL,
    decision     TEXT NOT NULL,
    decide_time  BIGINT NOT NULL,
    revision     BIGINT NOT NULL
);

CREATE INDEX registry_alias_changes_of ON registry_alias_changes (model, id);

-- At most one change of an alias, and one of the protection, waits.
CREATE UNIQUE INDEX registry_alias_changes_pending ON registry_alias_changes (model, alias) WHERE state = 1;

-- Prompt templates. What happens to their aliases is in registry_alias_history
-- and registry_changes, where their names begin with prompts/, as no model's does.
CREATE TABLE registry_prompts (
    name          TEXT COLLATE "C" PRIMARY KEY,
    version_count INTEGER NOT NULL,
    create_time   BIGINT NOT NULL,
    update_time   BIGINT NOT NULL
);

CREATE TABLE registry_prompt_versions (
    prompt      TEXT COLLATE "C" NOT NULL REFERENCES registry_prompts (name) ON DELETE CASCADE,
    number      INTEGER NOT NULL CHECK (number > 0),
    digest      TEXT COLLATE "C" NOT NULL,
    spec        BYTEA NOT NULL,
    description TEXT NOT NULL,
    create_time BIGINT NOT NULL,
    PRIMARY KEY (prompt, number),
    UNIQUE (prompt, digest)
);

CREATE TABLE registry_prompt_aliases (
    prompt      TEXT COLLATE "C" NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    version     INTEGER NOT NULL,
    revision    BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    PRIMARY KEY (prompt, name),
    FOREIGN KEY (prompt, version) REFERENCES registry_prompt_versions (prompt, number)
);

-- +goose Down

DROP TABLE registry_prompt_aliases;
DROP TABLE registry_prompt_versions;
DROP TABLE registry_prompts;
DROP TABLE registry_alias_changes;
DROP TABLE registry_alias_protection;
DROP TABLE registry_split_history;
DROP TABLE registry_alias_history;
DROP FUNCTION registry_history_kept();
