-- +goose Up

-- What the provider calls the person and the login, in the tokens by which it ends
-- sessions; empty: it has not said, or the session is older than these columns.
ALTER TABLE edge_sessions ADD COLUMN provider_subject TEXT NOT NULL DEFAULT '';
ALTER TABLE edge_sessions ADD COLUMN provider_session TEXT NOT NULL DEFAULT '';
CREATE INDEX edge_sessions_provider_subject ON edge_sessions (issuer, provider_subject);
CREATE INDEX edge_sessions_provider_session ON edge_sessions (issuer, provider_session);

-- The logout tokens that were used, while they could be shown again.
CREATE TABLE edge_logout_tokens (
    id           TEXT   NOT NULL PRIMARY KEY, -- SHA-256 of the issuer and jti, hexadecimal
    refuse_until BIGINT NOT NULL              -- microseconds since 1970
);
CREATE INDEX edge_logout_tokens_expiry ON edge_logout_tokens (refuse_until);

-- +goose Down
DROP TABLE edge_logout_tokens;
DROP INDEX edge_sessions_provider_session;
DROP INDEX edge_sessions_provider_subject;
ALTER TABLE edge_sessions DROP COLUMN provider_session;
ALTER TABLE edge_sessions DROP COLUMN provider_subject;
