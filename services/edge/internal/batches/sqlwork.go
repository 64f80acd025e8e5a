package batches

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/files"
)

// held is what shows a lease, in $1 to $3.
const held = `id = $1 AND holder = $2 AND fence = $3 AND unfinished = 1`

// taken counts what a tenant has taken at the time in $2.
const taken = `(SELECT COUNT(*) FROM edge_batches o WHERE o.tenant = b.tenant AND o.unfinished = 1 AND o.holder <> '' AND o.lease_time > $1)`

// Take implements Work. Of two that take the same one the second finds it taken, and
// comes again.
func (s *SQLStore) Take(ctx context.Context, holder string, now, until time.Time, each int) (Batch, Lease, error) {
	l := Lease{Holder: holder}
	err := s.db.Reader().QueryRowContext(ctx, `SELECT b.id FROM edge_batches b WHERE b.unfinished = 1 AND (b.holder = '' OR b.lease_time <= $1) AND `+taken+` < $2
		ORDER BY `+taken+`, b.turn_time, b.create_time, b.id LIMIT 1`, sqldb.Micros(now), each).Scan(&l.Batch)
	if errors.Is(err, sql.ErrNoRows) {
		return Batch{}, l, ErrNotFound
	}
	if err != nil {
		return Batch{}, l, fmt.Errorf("batches: take: %w", err)
	}
	b, err := scan(s.db.QueryRowContext(ctx, `UPDATE edge_batches SET holder = $2, fence = fence + 1, lease_time = $3, turn_time = $4
		WHERE id = $1 AND unfinished = 1 AND (holder = '' OR lease_time <= $4) RETURNING `+columns+`, fence`,
		l.Batch, holder, sqldb.Micros(until), sqldb.Micros(now)), &l.Fence)
	if err != nil {
		return b, l, fmt.Errorf("batches: take: %w", err)
	}
	return b, l, nil
}

// Starved implements Work.
func (s *SQLStore) Starved(ctx context.Context, now time.Time) (yes bool, err error) {
	err = s.db.Reader().QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM edge_batches b WHERE b.unfinished = 1 AND (b.holder = '' OR b.lease_time <= $1)
		AND `+taken+` = 0)`, sqldb.Micros(now)).Scan(&yes)
	if err != nil {
		return false, fmt.Errorf("batches: look for those who wait: %w", err)
	}
	return yes, nil
}

// Renew implements Work.
func (s *SQLStore) Renew(ctx context.Context, l Lease, until time.Time) (Status, error) {
	return s.touch(ctx, "renew", `UPDATE edge_batches SET lease_time = $4 WHERE `+held+` RETURNING status`, l, sqldb.Micros(until))
}

func (s *SQLStore) touch(ctx context.Context, what, query string, l Lease, args ...any) (status Status, err error) {
	err = s.db.QueryRowContext(ctx, query, append([]any{l.Batch, l.Holder, l.Fence}, args...)...).Scan(&status)
	if errors.Is(err, sql.ErrNoRows) {
		return "", ErrLost
	}
	if err != nil {
		return "", fmt.Errorf("batches: %s: %w", what, err)
	}
	return status, nil
}

// Release implements Work.
func (s *SQLStore) Release(ctx context.Context, l Lease) error {
	if _, err := s.db.ExecContext(ctx, `UPDATE edge_batches SET holder = '', lease_time = 0 WHERE `+held, l.Batch, l.Holder, l.Fence); err != nil {
		return fmt.Errorf("batches: release: %w", err)
	}
	return nil
}

// Begin implements Work.
func (s *SQLStore) Begin(ctx context.Context, l Lease, total int64, now time.Time) error {
	return s.move(ctx, "begin", `status = 'in_progress', total = $4, in_progress_time = $5`, InProgress, l, total, sqldb.Micros(now))
}

// Finalize implements Work.
func (s *SQLStore) Finalize(ctx context.Context, l Lease, now time.Time) error {
	return s.move(ctx, "finalize", `status = 'finalizing', finalizing_time = $4`, Finalizing, l, sqldb.Micros(now))
}

// move sets what follows on the status.
func (s *SQLStore) move(ctx context.Context, what, set string, to Status, l Lease, args ...any) error {
	_, err := s.touch(ctx, what, `UPDATE edge_batches SET `+set+` WHERE `+held+` AND status IN `+in(before(to))+` RETURNING status`, l, args...)
	if !errors.Is(err, ErrLost) {
		return err
	}
	if _, err := s.touch(ctx, what, `UPDATE edge_batches SET fence = fence WHERE `+held+` RETURNING status`, l); err != nil {
		return err
	}
	return ErrStatus
}

// Done implements Work.
func (s *SQLStore) Done(ctx context.Context, batch string) ([]int64, error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT line FROM edge_batch_results WHERE batch = $1`, batch)
	if err != nil {
		return nil, fmt.Errorf("batches: read answers: %w", err)
	}
	defer rows.Close()
	var out []int64
	for rows.Next() {
		var line int64
		if err := rows.Scan(&line); err != nil {
			return nil, fmt.Errorf("batches: read answers: %w", err)
		}
		out = append(out, line)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("batches: read answers: %w", err)
	}
	return out, nil
}

// Keep implements Work. The batch's row is written first: only its holder comes to
// the answers.
func (s *SQLStore) Keep(ctx context.Context, l Lease, results []Result) (status Status, err error) {
	var completed, failed int64
	for _, r := range results {
		if r.OK {
			completed++
		} else {
			failed++
		}
	}
	err = s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `UPDATE edge_batches SET completed = completed + $4, failed = failed + $5 WHERE `+held+` RETURNING status`,
			l.Batch, l.Holder, l.Fence, completed, failed).Scan(&status)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrLost
		}
		for _, r := range results {
			if err == nil {
				_, err = tx.ExecContext(ctx, `INSERT INTO edge_batch_results (batch, line, ok, data) VALUES ($1, $2, $3, $4)`, l.Batch, r.Line, flag(r.OK), r.Data)
			}
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("batches: keep answers: %w", err)
	}
	return status, nil
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Results implements Work. The size of what is read at once is bounded by reading few
// at once.
func (s *SQLStore) Results(ctx context.Context, batch string, after int64, limit int) ([]Result, error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT line, ok, data FROM edge_batch_results WHERE batch = $1 AND line > $2 ORDER BY line LIMIT $3`, batch, after, limit)
	if err != nil {
		return nil, fmt.Errorf("batches: read answers: %w", err)
	}
	defer rows.Close()
	var out []Result
	for size := 0; size < maxRead && rows.Next(); {
		var r Result
		var ok int
		if err := rows.Scan(&r.Line, &ok, &r.Data); err != nil {
			return nil, fmt.Errorf("batches: read answers: %w", err)
		}
		r.OK = ok != 0
		size += len(r.Data)
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("batches: read answers: %w", err)
	}
	return out, nil
}

// maxRead is after how many bytes no more answers are read at once.
const maxRead = 4 << 20

// End implements Work.
func (s *SQLStore) End(ctx context.Context, l Lease, e Ending) error {
	if e.Problems == nil {
		e.Problems = []Problem{}
	}
	problems, err := json.Marshal(e.Problems)
	if err != nil {
		return fmt.Errorf("batches: end: %w", err)
	}
	var output, failures string
	if e.Output != nil {
		output = e.Output.ID
	}
	if e.Errors != nil {
		failures = e.Errors.ID
	}
	err = s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		//nolint:gosec // of constants
		result, err := tx.ExecContext(ctx, `UPDATE edge_batches SET status = $4, unfinished = 0, problems = $5, output_file = $6, error_file = $7, end_time = $8,
			holder = '', lease_time = 0 WHERE `+held+` AND status IN `+in(before(e.Status)),
			l.Batch, l.Holder, l.Fence, string(e.Status), string(problems), output, failures, sqldb.Micros(e.Time))
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, whyNot(ctx, tx, l))
		}
		for _, f := range []*files.File{e.Output, e.Errors} {
			if f != nil && err == nil {
				err = files.FinishIn(ctx, tx, *f)
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("batches: end: %w", err)
	}
	return nil
}

// whyNot says why a write that showed a lease changed nothing.
func whyNot(ctx context.Context, tx *sql.Tx, l Lease) error {
	var there int
	if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM edge_batches WHERE `+held, l.Batch, l.Holder, l.Fence).Scan(&there); err != nil {
		return err
	}
	if there == 0 {
		return ErrLost
	}
	return ErrStatus
}

// Tidy implements Work.
func (s *SQLStore) Tidy(ctx context.Context, before time.Time, limit int) (int, error) {
	total := 0
	for _, d := range []struct {
		query string
		args  []any
	}{
		{`DELETE FROM edge_batch_results WHERE (batch, line) IN (
			SELECT r.batch, r.line FROM edge_batch_results r WHERE NOT EXISTS (SELECT 1 FROM edge_batches b WHERE b.id = r.batch AND b.unfinished = 1) LIMIT $1)`, []any{limit}},
		{`DELETE FROM edge_batches WHERE id IN (SELECT id FROM edge_batches WHERE unfinished = 0 AND end_time <= $1 LIMIT $2)`, []any{sqldb.Micros(before), limit}},
	} {
		result, err := s.db.ExecContext(ctx, d.query, d.args...)
		var n int64
		if err == nil {
			n, err = result.RowsAffected()
		}
		if err != nil {
			return total, fmt.Errorf("batches: tidy: %w", err)
		}
		total += int(n)
	}
	return total, nil
}
