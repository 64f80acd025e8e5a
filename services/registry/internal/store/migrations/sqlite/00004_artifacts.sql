-- +goose Up

-- Files by their content. place is where the content lies in the store of
-- contents, and is never given twice. unreferenced_since is when it was first
-- seen that nothing refers to the file; empty while something does.
CREATE TABLE registry_artifacts (
    sha256             TEXT PRIMARY KEY,
    size_bytes         INTEGER NOT NULL,
    name               TEXT NOT NULL,
    place              TEXT NOT NULL,
    creator            TEXT NOT NULL,
    create_time        INTEGER NOT NULL,
    unreferenced_since INTEGER
);

CREATE INDEX registry_artifacts_unreferenced ON registry_artifacts (unreferenced_since)
    WHERE unreferenced_since IS NOT NULL;

-- Which versions and variants refer to a file. These keep it: no cascade from
-- there.
CREATE TABLE registry_version_artifacts (
    model   TEXT NOT NULL,
    version INTEGER NOT NULL,
    sha256  TEXT NOT NULL REFERENCES registry_artifacts (sha256),
    PRIMARY KEY (model, version, sha256),
    FOREIGN KEY (model, version) REFERENCES registry_versions (model, number) ON DELETE CASCADE
);

CREATE INDEX registry_version_artifacts_sha256 ON registry_version_artifacts (sha256);

CREATE TABLE registry_variant_artifacts (
    model   TEXT NOT NULL,
    version INTEGER NOT NULL,
    variant TEXT NOT NULL,
    sha256  TEXT NOT NULL REFERENCES registry_artifacts (sha256),
    PRIMARY KEY (model, version, variant, sha256),
    FOREIGN KEY (model, version, variant) REFERENCES registry_variants (model, version, name) ON DELETE CASCADE
);

CREATE INDEX registry_variant_artifacts_sha256 ON registry_variant_artifacts (sha256);

-- Uploads. hash_state is that of the SHA-256 over what was received. attempts
-- counts the parts that were begun. A dropped upload is one whose content is
-- still to be removed.
CREATE TABLE registry_uploads (
    id          TEXT PRIMARY KEY,
    state       TEXT NOT NULL CHECK (state IN ('open', 'complete', 'dropped')),
    name        TEXT NOT NULL,
    size_bytes  INTEGER NOT NULL,
    sha256      TEXT NOT NULL,
    received    INTEGER NOT NULL CHECK (received BETWEEN 0 AND size_bytes),
    hash_state  BLOB NOT NULL,
    attempts    INTEGER NOT NULL,
    handle      TEXT NOT NULL,
    part_bytes  INTEGER NOT NULL,
    creator     TEXT NOT NULL,
    create_time INTEGER NOT NULL,
    update_time INTEGER NOT NULL,
    expire_time INTEGER NOT NULL
);

CREATE INDEX registry_uploads_state ON registry_uploads (state, expire_time);

CREATE TABLE registry_upload_parts (
    upload     TEXT NOT NULL REFERENCES registry_uploads (id) ON DELETE CASCADE,
    number     INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    start      INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256     TEXT NOT NULL,
    tag        TEXT NOT NULL,
    PRIMARY KEY (upload, number)
);

-- Contents that nothing knows any more and that are still to be removed.
CREATE TABLE registry_artifact_trash (
    place TEXT PRIMARY KEY
);

-- +goose Down

DROP TABLE registry_artifact_trash;
DROP TABLE registry_upload_parts;
DROP TABLE registry_uploads;
DROP TABLE registry_variant_artifacts;
DROP TABLE registry_version_artifacts;
DROP TABLE registry_artifacts;
