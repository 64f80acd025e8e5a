-- +goose Up

-- The prompts that arms name, of a split (experiment is empty) or of an experiment
-- that is not concluded. version is 0 where an alias says which.
CREATE TABLE registry_arm_prompts (
    model      TEXT COLLATE "C" NOT NULL REFERENCES registry_models (name) ON DELETE CASCADE,
    experiment TEXT COLLATE "C" NOT NULL,
    arm        TEXT COLLATE "C" NOT NULL,
    prompt     TEXT COLLATE "C" NOT NULL REFERENCES registry_prompts (name),
    version    INTEGER NOT NULL,
    alias      TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (model, experiment, arm)
);

CREATE INDEX registry_arm_prompts_of ON registry_arm_prompts (prompt, alias);

-- prompt is the version of a prompt that conversations began with, name@v3, or
-- empty.
ALTER TABLE registry_outcomes ADD COLUMN prompt TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE registry_outcomes DROP CONSTRAINT registry_outcomes_pkey;
ALTER TABLE registry_outcomes ADD CONSTRAINT registry_outcomes_pkey
    PRIMARY KEY (model, experiment, width, bucket, arm, version, digest, segment, prompt);

-- +goose Down

-- Sums cannot be added up here: those of conversations with a prompt go.
DELETE FROM registry_outcomes WHERE prompt <> '';
ALTER TABLE registry_outcomes DROP CONSTRAINT registry_outcomes_pkey;
ALTER TABLE registry_outcomes ADD CONSTRAINT registry_outcomes_pkey
    PRIMARY KEY (model, experiment, width, bucket, arm, version, digest, segment);
ALTER TABLE registry_outcomes DROP COLUMN prompt;

DROP TABLE registry_arm_prompts;
