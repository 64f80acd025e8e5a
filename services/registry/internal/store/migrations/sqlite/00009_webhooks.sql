-- +goose Up

-- Who is told of changes. events and models are JSON lists. secret is what messages
-- are signed with, as it is: whoever reads the database can sign. pending counts
-- the deliveries that wait, missed the events that were not noted because too many
-- waited.
CREATE TABLE registry_webhooks (
    name        TEXT PRIMARY KEY,
    url         TEXT NOT NULL,
    secret      TEXT NOT NULL,
    events      TEXT NOT NULL,
    models      TEXT NOT NULL,
    active      INTEGER NOT NULL,
    generation  INTEGER NOT NULL,
    pending     INTEGER NOT NULL,
    missed      INTEGER NOT NULL,
    create_time INTEGER NOT NULL,
    update_time INTEGER NOT NULL
);

-- What they are told: written with the change itself, so that nothing is lost and
-- nothing is told that did not happen. state is that of the message.
CREATE TABLE registry_deliveries (
    webhook      TEXT NOT NULL REFERENCES registry_webhooks (name) ON DELETE CASCADE,
    revision     INTEGER NOT NULL,
    model        TEXT NOT NULL,
    kind         TEXT NOT NULL,
    actor        TEXT NOT NULL,
    commit_time  INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    attempts     INTEGER NOT NULL,
    last_status  INTEGER NOT NULL,
    last_error   TEXT NOT NULL,
    attempt_time INTEGER NOT NULL,
    next_time    INTEGER NOT NULL,
    PRIMARY KEY (webhook, revision)
);

CREATE INDEX registry_deliveries_state ON registry_deliveries (webhook, state, revision);
CREATE INDEX registry_changes_model ON registry_changes (model, revision);

-- +goose Down

DROP INDEX registry_changes_model;
DROP TABLE registry_deliveries;
DROP TABLE registry_webhooks;
