-- +goose Up
-- What a key is for: JSON arrays.
ALTER TABLE edge_api_keys ADD COLUMN scopes      TEXT NOT NULL DEFAULT '[]';
ALTER TABLE edge_api_keys ADD COLUMN models      TEXT NOT NULL DEFAULT '[]';
ALTER TABLE edge_api_keys ADD COLUMN collections TEXT NOT NULL DEFAULT '[]';
ALTER TABLE edge_api_keys ADD COLUMN networks    TEXT NOT NULL DEFAULT '[]';
-- Whom to ask about it, and who created it.
ALTER TABLE edge_api_keys ADD COLUMN owner   TEXT NOT NULL DEFAULT '';
ALTER TABLE edge_api_keys ADD COLUMN creator TEXT NOT NULL DEFAULT '';
ALTER TABLE edge_api_keys ADD COLUMN update_time BIGINT NOT NULL DEFAULT 0;
-- The service account that it belongs to; empty for none.
ALTER TABLE edge_api_keys ADD COLUMN service_account TEXT NOT NULL DEFAULT '';
-- The check value of the pepper in the hash; empty for hashes from before these
-- were kept.
ALTER TABLE edge_api_keys ADD COLUMN pepper TEXT NOT NULL DEFAULT '';
-- The secret before the last rotation, and until when it goes on.
ALTER TABLE edge_api_keys ADD COLUMN rotate_time     BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_api_keys ADD COLUMN previous_hash   TEXT   NOT NULL DEFAULT '';
ALTER TABLE edge_api_keys ADD COLUMN previous_pepper TEXT   NOT NULL DEFAULT '';
ALTER TABLE edge_api_keys ADD COLUMN previous_expire_time BIGINT NOT NULL DEFAULT 0;
CREATE INDEX edge_api_keys_account ON edge_api_keys (tenant, service_account);

-- When keys were last used: apart from the keys, so that noting it is no change
-- that replicas would have to follow.
CREATE TABLE edge_api_key_uses (
    id        TEXT   NOT NULL PRIMARY KEY,
    last_time BIGINT NOT NULL
);

-- The check values of the peppers that hashes were made with.
CREATE TABLE edge_api_key_peppers (
    check_value TEXT   NOT NULL PRIMARY KEY,
    create_time BIGINT NOT NULL
);

-- +goose Down
-- What was hashed with a pepper of its own cannot be verified by what runs after
-- this; keys made since then end. So do those that are narrowed: they would hold for
-- everything.
UPDATE edge_api_keys SET revoke_time = create_time + 1 WHERE revoke_time = 0
    AND (scopes <> '[]' OR models <> '[]' OR collections <> '[]' OR networks <> '[]' OR service_account <> '');
DROP TABLE edge_api_key_peppers;
DROP TABLE edge_api_key_uses;
DROP INDEX edge_api_keys_account;
ALTER TABLE edge_api_keys DROP COLUMN previous_expire_time;
ALTER TABLE edge_api_keys DROP COLUMN previous_pepper;
ALTER TABLE edge_api_keys DROP COLUMN previous_hash;
ALTER TABLE edge_api_keys DROP COLUMN rotate_time;
ALTER TABLE edge_api_keys DROP COLUMN pepper;
ALTER TABLE edge_api_keys DROP COLUMN service_account;
ALTER TABLE edge_api_keys DROP COLUMN update_time;
ALTER TABLE edge_api_keys DROP COLUMN creator;
ALTER TABLE edge_api_keys DROP COLUMN owner;
ALTER TABLE edge_api_keys DROP COLUMN networks;
ALTER TABLE edge_api_keys DROP COLUMN collections;
ALTER TABLE edge_api_keys DROP COLUMN models;
ALTER TABLE edge_api_keys DROP COLUMN scopes;
