package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/auditproof"
)

// Register makes a chain known, which begins now, and returns its registration. Its
// checkpoints are verified by key.
func (s *SQLSink) Register(ctx context.Context, chain, key string, now time.Time) (auditproof.Registration, error) {
	for attempt := 0; ; attempt++ {
		r, err := s.register(ctx, chain, key, now)
		if err == nil {
			return r, nil
		}
		// Another replica had the number.
		if !sqldb.IsUnique(err) || attempt == 20 {
			return r, fmt.Errorf("audit: register a chain: %w", err)
		}
	}
}

func (s *SQLSink) register(ctx context.Context, chain, key string, now time.Time) (auditproof.Registration, error) {
	r := auditproof.Registration{Chain: chain, Key: key, Time: time.UnixMicro(now.UnixMicro()).UTC()}
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var hash string
		err := tx.QueryRowContext(ctx, `SELECT serial, hash FROM edge_audit_chains ORDER BY serial DESC LIMIT 1`).Scan(&r.Serial, &hash)
		if errors.Is(err, sql.ErrNoRows) {
			r.Serial, r.Previous = 0, auditproof.Hash{}
			err = tx.QueryRowContext(ctx, `SELECT count(*) FROM edge_audit WHERE chain = ''`).Scan(&r.Before)
		}
		if err != nil {
			return err
		}
		r.Serial, r.Previous = r.Serial+1, readHash(hash)
		r.Hash = r.Sum()
		_, err = tx.ExecContext(ctx, `INSERT INTO edge_audit_chains
			(serial, chain, time_us, verifier, records_before, previous_hash, hash) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			r.Serial, r.Chain, r.Time.UnixMicro(), r.Key, r.Before, hashText(r.Previous), hashText(r.Hash))
		return err
	})
	return r, err
}

// Registrations returns every chain's, in their order.
func (s *SQLSink) Registrations(ctx context.Context) (out []auditproof.Registration, err error) {
	rows, err := s.read.QueryContext(ctx, `SELECT serial, chain, time_us, verifier, records_before, previous_hash, hash
		FROM edge_audit_chains ORDER BY serial`)
	if err != nil {
		return nil, fmt.Errorf("audit: list the chains: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r auditproof.Registration
		var at int64
		var previous, hash string
		if err := rows.Scan(&r.Serial, &r.Chain, &at, &r.Key, &r.Before, &previous, &hash); err != nil {
			return nil, fmt.Errorf("audit: list the chains: %w", err)
		}
		r.Time, r.Previous, r.Hash = time.UnixMicro(at).UTC(), readHash(previous), readHash(hash)
		out = append(out, r)
	}
	return out, rows.Err()
}

// Checkpoints returns those of a chain, the smallest first; of all chains when chain
// is empty.
func (s *SQLSink) Checkpoints(ctx context.Context, chain string) (out []string, err error) {
	rows, err := s.read.QueryContext(ctx, `SELECT note FROM edge_audit_checkpoints
		WHERE chain = $1 OR $1 = '' ORDER BY chain, size, pruned`, chain)
	if err != nil {
		return nil, fmt.Errorf("audit: list the checkpoints: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("audit: list the checkpoints: %w", err)
		}
		out = append(out, text)
	}
	return out, rows.Err()
}

// AddCheckpoint keeps a checkpoint that was signed as text.
func (s *SQLSink) AddCheckpoint(ctx context.Context, c auditproof.Checkpoint, text string) error {
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return addCheckpoint(ctx, tx, c, text)
	})
	if err != nil {
		return fmt.Errorf("audit: keep a checkpoint: %w", err)
	}
	return nil
}

func addCheckpoint(ctx context.Context, tx *sql.Tx, c auditproof.Checkpoint, text string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO edge_audit_checkpoints (chain, size, pruned, note) VALUES ($1, $2, $3, $4)
		ON CONFLICT (chain, size, pruned) DO UPDATE SET note = excluded.note`, c.Chain, c.Tree.Size, number(c.Pruned), text)
	if err == nil && c.Ended {
		_, err = tx.ExecContext(ctx, `UPDATE edge_audit_chains SET ended = 1 WHERE chain = $1`, c.Chain)
	}
	return err
}

// Thin deletes checkpoints of a chain that stand close together, of those smaller
// than size: proofs stay as they are, and only the place of an error is told less
// exactly.
func (s *SQLSink) Thin(ctx context.Context, chain string, every int64) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM edge_audit_checkpoints WHERE chain = $1 AND pruned = 0 AND size < (
			SELECT max(size) FROM edge_audit_checkpoints WHERE chain = $1) AND size NOT IN (
			SELECT max(size) FROM edge_audit_checkpoints WHERE chain = $1 AND pruned = 0 GROUP BY size / $2)`, chain, every)
	if err != nil {
		return fmt.Errorf("audit: thin the checkpoints: %w", err)
	}
	return nil
}

// Chained calls fn with the records of a chain from a number on, in their order,
// until fn returns an error. It reads them in pages.
func (s *SQLSink) Chained(ctx context.Context, chain string, from int64, fn func(Record) error) error {
	for {
		page, err := s.chained(ctx, chain, from)
		if err != nil {
			return fmt.Errorf("audit: read chain %s: %w", chain, err)
		}
		for _, r := range page {
			if err := fn(r); err != nil {
				return err
			}
		}
		if len(page) < chainPage {
			return nil
		}
		from = page[len(page)-1].Sequence + 1
	}
}

const chainPage = 1000

func (s *SQLSink) chained(ctx context.Context, chain string, from int64) (out []Record, err error) {
	rows, err := s.read.QueryContext(ctx, "SELECT "+columns+` FROM edge_audit WHERE chain = $1 AND chain <> '' AND sequence >= $2
		ORDER BY sequence LIMIT $3`, chain, from, chainPage)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// Names returns every chain that has a record, registered or not.
func (s *SQLSink) Names(ctx context.Context) (out []string, err error) {
	// A step for each chain, and not for each record.
	for last := ""; ; {
		var next sql.NullString
		err := s.read.QueryRowContext(ctx, `SELECT min(chain) FROM edge_audit WHERE chain > $1 AND chain <> ''`, last).Scan(&next)
		if err != nil {
			return nil, fmt.Errorf("audit: list the chains: %w", err)
		}
		if !next.Valid {
			return out, nil
		}
		out, last = append(out, next.String), next.String
	}
}
