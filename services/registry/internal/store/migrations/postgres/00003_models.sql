-- +goose Up

-- A model belongs to a tenant, or to all when that is empty. last_version is the
-- last number given; version_count counts the versions that are not deleted.
-- Together the versions numbered from carried_from on, which take range_bytes,
-- and those that something needs make up what watchers are sent; version_bytes is
-- what all of these take. indexed says that the tables of terms have it.
ALTER TABLE registry_models ADD COLUMN task INTEGER NOT NULL DEFAULT 0;
ALTER TABLE registry_models ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE registry_models ADD COLUMN tenant TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE registry_models ADD COLUMN card TEXT NOT NULL DEFAULT '';
ALTER TABLE registry_models ADD COLUMN licence TEXT NOT NULL DEFAULT '';
ALTER TABLE registry_models ADD COLUMN last_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE registry_models ADD COLUMN carried_from INTEGER NOT NULL DEFAULT 1;
ALTER TABLE registry_models ADD COLUMN range_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE registry_models ADD COLUMN delete_time BIGINT NOT NULL DEFAULT 0;
ALTER TABLE registry_models ADD COLUMN purge_time BIGINT NOT NULL DEFAULT 0;
ALTER TABLE registry_models ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;

-- meta is what is said of the version, encoded; bytes is what the version takes
-- in a message, with its variants.
ALTER TABLE registry_versions ADD COLUMN meta BYTEA NOT NULL DEFAULT '';
ALTER TABLE registry_versions ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE registry_versions ADD COLUMN delete_time BIGINT NOT NULL DEFAULT 0;
ALTER TABLE registry_versions ADD COLUMN purge_time BIGINT NOT NULL DEFAULT 0;
ALTER TABLE registry_versions ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;

ALTER TABLE registry_variants ADD COLUMN signatures BYTEA NOT NULL DEFAULT '';

UPDATE registry_versions SET bytes = 128 + length(model) + octet_length(spec) + octet_length(description)
    + COALESCE((SELECT sum(x.bytes) FROM registry_variants x
        WHERE x.model = registry_versions.model AND x.version = registry_versions.number), 0);
UPDATE registry_models SET last_version = version_count,
    range_bytes = COALESCE((SELECT sum(v.bytes) FROM registry_versions v WHERE v.model = registry_models.name), 0);
UPDATE registry_models SET version_bytes = range_bytes;

-- What versions and models can be found by, besides their columns: one row for
-- each label and each text that a filter may ask for.
CREATE TABLE registry_version_terms (
    model   TEXT COLLATE "C" NOT NULL,
    version INTEGER NOT NULL,
    key     TEXT COLLATE "C" NOT NULL,
    value   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (model, version, key),
    FOREIGN KEY (model, version) REFERENCES registry_versions (model, number) ON DELETE CASCADE
);
CREATE INDEX registry_version_terms_by_value ON registry_version_terms (model, key, value, version);

CREATE TABLE registry_version_metrics (
    model   TEXT COLLATE "C" NOT NULL,
    version INTEGER NOT NULL,
    name    TEXT COLLATE "C" NOT NULL,
    value   DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (model, version, name),
    FOREIGN KEY (model, version) REFERENCES registry_versions (model, number) ON DELETE CASCADE
);
CREATE INDEX registry_version_metrics_by_value ON registry_version_metrics (model, name, value, version);

CREATE TABLE registry_model_terms (
    model TEXT COLLATE "C" NOT NULL REFERENCES registry_models (name) ON DELETE CASCADE,
    key   TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (model, key)
);
CREATE INDEX registry_model_terms_by_value ON registry_model_terms (key, value, model);

CREATE INDEX registry_models_by_creation ON registry_models (create_time, name);
CREATE INDEX registry_models_by_update ON registry_models (update_time, name);
CREATE INDEX registry_models_to_purge ON registry_models (purge_time) WHERE purge_time > 0;
CREATE INDEX registry_versions_to_purge ON registry_versions (purge_time) WHERE purge_time > 0;
CREATE INDEX registry_models_to_index ON registry_models (name) WHERE indexed = 0;
CREATE INDEX registry_versions_to_index ON registry_versions (model, number) WHERE indexed = 0;

-- +goose Down

DELETE FROM registry_models WHERE delete_time > 0;
DELETE FROM registry_versions WHERE delete_time > 0;

DROP INDEX registry_versions_to_index;
DROP INDEX registry_models_to_index;
DROP INDEX registry_versions_to_purge;
DROP INDEX registry_models_to_purge;
DROP INDEX registry_models_by_update;
DROP INDEX registry_models_by_creation;
DROP TABLE registry_model_terms;
DROP TABLE registry_version_metrics;
DROP TABLE registry_version_terms;

-- Before, the count was the last number given, and all versions were sent.
UPDATE registry_models SET version_count = last_version, version_bytes =
    COALESCE((SELECT sum(v.bytes) FROM registry_versions v WHERE v.model = registry_models.name), 0);

ALTER TABLE registry_variants DROP COLUMN signatures;
ALTER TABLE registry_versions DROP COLUMN indexed;
ALTER TABLE registry_versions DROP COLUMN purge_time;
ALTER TABLE registry_versions DROP COLUMN delete_time;
ALTER TABLE registry_versions DROP COLUMN bytes;
ALTER TABLE registry_versions DROP COLUMN meta;
ALTER TABLE registry_models DROP COLUMN indexed;
ALTER TABLE registry_models DROP COLUMN purge_time;
ALTER TABLE registry_models DROP COLUMN delete_time;
ALTER TABLE registry_models DROP COLUMN range_bytes;
ALTER TABLE registry_models DROP COLUMN carried_from;
ALTER TABLE registry_models DROP COLUMN last_version;
ALTER TABLE registry_models DROP COLUMN licence;
ALTER TABLE registry_models DROP COLUMN card;
ALTER TABLE registry_models DROP COLUMN tenant;
ALTER TABLE registry_models DROP COLUMN owner;
ALTER TABLE registry_models DROP COLUMN task;
