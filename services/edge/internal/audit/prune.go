package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/services/edge/auditproof"
)

// pruneAtOnce bounds how long pruning holds the table.
const pruneAtOnce = 5000

// Signer signs checkpoints, and reads those that any key of the trail has signed.
type Signer interface {
	Sign(c auditproof.Checkpoint) (string, error)
	Open(text string) (auditproof.Checkpoint, error)
}

// Prune deletes records from before t, and returns how many. Of a chain it deletes
// from its beginning up to a checkpoint, and signs that the chain begins there from
// then on. It works in small steps, so that writing is not held up.
func (s *SQLSink) Prune(ctx context.Context, t time.Time, sign Signer) (int64, error) {
	total, err := s.delete(ctx, `chain = '' AND time_us < $1`, t.UnixMicro())
	if err != nil {
		return total, err
	}
	regs, err := s.Registrations(ctx)
	if err != nil {
		return total, err
	}
	for _, r := range regs {
		n, err := s.pruneChain(ctx, r.Chain, t, sign)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func (s *SQLSink) pruneChain(ctx context.Context, chain string, t time.Time, sign Signer) (int64, error) {
	keep, err := s.firstKept(ctx, chain, t)
	if err != nil || keep == 0 {
		return 0, err
	}
	var text string
	err = s.read.QueryRowContext(ctx, `SELECT note FROM edge_audit_checkpoints WHERE chain = $1 AND size <= $2
		ORDER BY size DESC, pruned DESC LIMIT 1`, chain, keep).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil // nothing is signed yet
	}
	if err != nil {
		return 0, fmt.Errorf("audit: prune: %w", err)
	}
	c, err := sign.Open(text)
	if err != nil {
		return 0, fmt.Errorf("audit: prune chain %s: %w", chain, err)
	}
	if c.Pruned {
		return 0, nil // nothing is signed since
	}
	// The records must be those that were signed: nobody could tell afterwards.
	if err := s.holds(ctx, c); err != nil {
		return 0, err
	}
	return s.cutTo(ctx, c, sign)
}

var errEnough = errors.New("enough")

// cutTo deletes a chain's records up to a checkpoint. With each step it signs where
// the chain begins, in the same transaction.
func (s *SQLSink) cutTo(ctx context.Context, c auditproof.Checkpoint, sign Signer) (int64, error) {
	at := auditproof.Checkpoint{Chain: c.Chain, Time: c.Time, Pruned: true}
	last, err := s.beginning(ctx, c.Chain, sign)
	if err != nil {
		return 0, err
	}
	if last != nil {
		at.Tree = last.Tree.Clone()
	}
	var total int64
	step := func() error {
		text, err := sign.Sign(at)
		if err != nil {
			return err
		}
		n, err := s.cut(ctx, at, text)
		total += n
		return err
	}
	err = s.Chained(ctx, c.Chain, at.Tree.Size, func(r Record) error {
		if r.Sequence >= c.Tree.Size {
			return errEnough
		}
		at.Tree.Add(r.Hash)
		at.Head = r.Hash
		if at.Tree.Size%pruneAtOnce == 0 || at.Tree.Size == c.Tree.Size {
			return step()
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return total, err
}

// beginning returns the checkpoint at which a chain begins; nil when that is its
// first record.
func (s *SQLSink) beginning(ctx context.Context, chain string, sign Signer) (*auditproof.Checkpoint, error) {
	var text string
	err := s.read.QueryRowContext(ctx, `SELECT note FROM edge_audit_checkpoints WHERE chain = $1 AND pruned = 1
		ORDER BY size DESC LIMIT 1`, chain).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // it has none
	}
	if err != nil {
		return nil, fmt.Errorf("audit: prune: %w", err)
	}
	c, err := sign.Open(text)
	return &c, err
}

// holds verifies a chain up to a checkpoint.
func (s *SQLSink) holds(ctx context.Context, c auditproof.Checkpoint) error {
	v := auditproof.NewVerifier(auditproof.Options{})
	regs, err := s.Registrations(ctx)
	if err != nil {
		return err
	}
	for _, r := range regs {
		if r.Chain == c.Chain {
			v.Registration(r)
		}
	}
	texts, err := s.Checkpoints(ctx, c.Chain)
	if err != nil {
		return err
	}
	for _, text := range texts {
		if cp, err := auditproof.ReadCheckpoint(text); err == nil && cp.Tree.Size <= c.Tree.Size {
			v.Checkpoint(text)
		}
	}
	err = s.Chained(ctx, c.Chain, 0, func(r Record) error {
		if r.Sequence >= c.Tree.Size {
			return errEnough
		}
		v.Record(r)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if report := v.Finish(); report.Found > 0 {
		return fmt.Errorf("audit: chain %s is not pruned, since it does not verify: %s", c.Chain, report.Findings[0])
	}
	return nil
}

// firstKept returns the number of the first record that stays.
func (s *SQLSink) firstKept(ctx context.Context, chain string, t time.Time) (int64, error) {
	var keep int64
	err := s.read.QueryRowContext(ctx, `SELECT sequence FROM edge_audit WHERE chain = $1 AND chain <> '' AND time_us >= $2
		ORDER BY sequence LIMIT 1`, chain, t.UnixMicro()).Scan(&keep)
	if errors.Is(err, sql.ErrNoRows) {
		err = s.read.QueryRowContext(ctx, `SELECT coalesce(max(sequence) + 1, 0) FROM edge_audit
			WHERE chain = $1 AND chain <> ''`, chain).Scan(&keep)
	}
	if err != nil {
		return 0, fmt.Errorf("audit: prune: %w", err)
	}
	return keep, nil
}

// cut deletes a chain's records before a checkpoint, which becomes its beginning.
func (s *SQLSink) cut(ctx context.Context, c auditproof.Checkpoint, text string) (n int64, err error) {
	err = s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM edge_audit WHERE chain = $1 AND chain <> '' AND sequence < $2`, c.Chain, c.Tree.Size)
		if err != nil {
			return err
		}
		if n, err = res.RowsAffected(); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM edge_audit_checkpoints WHERE chain = $1 AND size <= $2
			AND (size < $2 OR pruned = 1)`, c.Chain, c.Tree.Size); err != nil {
			return err
		}
		return addCheckpoint(ctx, tx, c, text)
	})
	if err != nil {
		return 0, fmt.Errorf("audit: prune: %w", err)
	}
	return n, nil
}

// delete deletes what where selects, in steps.
func (s *SQLSink) delete(ctx context.Context, where string, args ...any) (int64, error) {
	var total int64
	for {
		var n int64
		err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
			res, err := tx.ExecContext(ctx, fmt.Sprintf(`DELETE FROM edge_audit WHERE (time_us, id) IN (
				SELECT time_us, id FROM edge_audit WHERE %s ORDER BY time_us LIMIT %d)`, where, pruneAtOnce), args...)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil {
			return total, fmt.Errorf("audit: prune: %w", err)
		}
		total += n
		if n < pruneAtOnce {
			return total, nil
		}
	}
}
