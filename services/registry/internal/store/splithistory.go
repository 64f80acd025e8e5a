package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

const splitStateQuery = `SELECT model, revision, salt, arms, actor, reason, rollback_to, commit_time
	FROM registry_split_history WHERE model = $1 `

func scanSplitState(row scanner) (*registryv1.SplitState, error) {
	var (
		st        registryv1.SplitState
		text      string
		committed int64
	)
	if err := row.Scan(&st.Model, &st.Revision, &st.Salt, &text, &st.Actor, &st.Reason, &st.RollbackTo, &committed); err != nil {
		return nil, err
	}
	var arms []json.RawMessage
	if err := json.Unmarshal([]byte(text), &arms); err != nil {
		return nil, fmt.Errorf("arms of %s at %d: %w", st.GetModel(), st.GetRevision(), err)
	}
	for _, raw := range arms {
		var arm registryv1.Arm
		// A newer registry may have noted more of an arm than this one knows.
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, &arm); err != nil {
			return nil, fmt.Errorf("arms of %s at %d: %w", st.GetModel(), st.GetRevision(), err)
		}
		st.Arms = append(st.Arms, &arm)
	}
	st.CreateTime = timestamp(committed)
	return &st, nil
}

// recordSplit adds the state that begins now to the split's history: no split
// when sp is nil.
func (c *change) recordSplit(ctx context.Context, sp *registryv1.Split, reason string, rollbackTo int64) error {
	arms := make([]json.RawMessage, 0, len(sp.GetArms()))
	for _, a := range sp.GetArms() {
		raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(a)
		if err != nil {
			return fmt.Errorf("arm %s: %w", a.GetName(), err)
		}
		arms = append(arms, raw)
	}
	text, err := json.Marshal(arms)
	if err != nil {
		return fmt.Errorf("arms: %w", err)
	}
	return c.exec(ctx, `INSERT INTO registry_split_history (model, revision, salt, arms, actor, reason, rollback_to, commit_time)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		c.model, c.revision, sp.GetSalt(), string(text), c.actor, reason, rollbackTo, micros(c.now))
}

// SplitHistory returns at most limit states that a model's split has had, newest
// first, those that began before the given revision; 0 begins at the newest. What
// is gone keeps its history.
func (s *Store) SplitHistory(ctx context.Context, model string, before int64, limit int) ([]*registryv1.SplitState, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	out, err := collect(ctx, s.db.Reader(), scanSplitState,
		splitStateQuery+`AND revision < $2 ORDER BY revision DESC LIMIT $3`, model, before, limit)
	return out, failure(ctx, err, "history of the split of %q", model)
}

// RollbackSplit brings back the split that a model had at a revision, with its
// salt, or removes it when there was none, if what is there has the given etag.
// It returns nil when there is none afterwards.
func (s *Store) RollbackSplit(ctx context.Context, actor, model string, r Rollback) (*registryv1.Split, error) {
	var out *registryv1.Split
	err := s.change(ctx, actor, model, splitRolledBack, func(ctx context.Context, c *change) (err error) {
		if out, err = s.split(ctx, c.tx, model); err != nil {
			return err
		}
		if err := compareEtag(fmt.Sprintf("the split of %q", model), r.Etag, out.GetEtag()); err != nil {
			return err
		}
		was, err := s.splitAt(ctx, c, r.Revision)
		if err != nil {
			return err
		}
		if out.GetSalt() == was.GetSalt() && slices.EqualFunc(out.GetArms(), was.GetArms(), sameArm) {
			return errUnchanged
		}
		if len(was.GetArms()) == 0 {
			out = nil
			return c.removeSplit(ctx, r.Reason, r.Revision)
		}
		if err := s.checkSplit(ctx, c, was.GetArms()); err != nil {
			return err
		}
		if err := s.putSplit(ctx, c, was.GetSalt(), out == nil); err != nil {
			return err
		}
		if err := c.exec(ctx, `UPDATE registry_splits SET salt = $1 WHERE model = $2`, was.GetSalt(), model); err != nil {
			return err
		}
		if err := s.putArms(ctx, c, was.GetArms(), s.opts.May); err != nil {
			return err
		}
		if out, err = s.split(ctx, c.tx, model); err != nil {
			return err
		}
		return c.recordSplit(ctx, out, r.Reason, r.Revision)
	})
	return out, err
}

// splitAt returns the state at a revision, if its versions are still what they
// were.
func (s *Store) splitAt(ctx context.Context, c *change, revision int64) (*registryv1.SplitState, error) {
	if revision >= c.revision {
		return nil, noStateAt(revision)
	}
	was, err := scanSplitState(c.tx.QueryRowContext(ctx,
		splitStateQuery+`AND revision <= $2 ORDER BY revision DESC LIMIT 1`, c.model, revision))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, noStateAt(revision)
	}
	if err != nil {
		return nil, fmt.Errorf("state at %d: %w", revision, err)
	}
	for _, a := range was.GetArms() {
		if _, err := s.sameVersion(ctx, c, a.GetVersion(), a.GetDigest()); err != nil {
			return nil, err
		}
	}
	return was, nil
}

// removeSplit removes the split, and notes that.
func (c *change) removeSplit(ctx context.Context, reason string, rollbackTo int64) error {
	if err := c.touch(ctx); err != nil {
		return err
	}
	if err := c.exec(ctx, `DELETE FROM registry_splits WHERE model = $1`, c.model); err != nil {
		return err
	}
	if err := c.putArmPrompts(ctx, "", nil); err != nil {
		return err
	}
	return c.recordSplit(ctx, nil, reason, rollbackTo)
}
