-- +goose Up

-- Other forms of a version's weights. What a variant is never changes; its
-- quality may be measured again. bytes is what it adds to the model's
-- version_bytes, to be given back when it goes.
CREATE TABLE registry_variants (
    model       TEXT NOT NULL,
    version     INTEGER NOT NULL,
    name        TEXT NOT NULL,
    digest      TEXT NOT NULL,
    spec        BLOB NOT NULL,
    quality     BLOB,
    description TEXT NOT NULL,
    bytes       INTEGER NOT NULL,
    create_time INTEGER NOT NULL,
    PRIMARY KEY (model, version, name),
    UNIQUE (model, version, digest),
    FOREIGN KEY (model, version) REFERENCES registry_versions (model, number) ON DELETE CASCADE
);

-- +goose Down

UPDATE registry_models SET version_bytes = version_bytes -
    COALESCE((SELECT sum(bytes) FROM registry_variants WHERE model = registry_models.name), 0);

DROP TABLE registry_variants;
