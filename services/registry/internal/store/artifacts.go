package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
)

// Artifact is a file that is kept by its content.
type Artifact struct {
	SHA256, Name, Creator string
	// Place is where its content lies in the store of contents.
	Place   string
	Size    int64
	Created time.Time
	// Unreferenced is since when nothing refers to it, as was last looked; zero
	// while something does.
	Unreferenced time.Time
	// Referring is how many versions and variants refer to it, where it was listed.
	Referring int32
}

// Reference is a version, or a variant of one, that refers to an artifact.
type Reference struct {
	Model   string
	Version int32
	Variant string
}

const artifactColumns = `sha256, size_bytes, name, place, creator, create_time, unreferenced_since`

func scanArtifact(row scanner) (*Artifact, error) { return scanArtifactAnd(row) }

// scanArtifactAnd reads an artifact's columns, and others behind them.
func scanArtifactAnd(row scanner, more ...any) (*Artifact, error) {
	var (
		a       Artifact
		created int64
		since   sql.NullInt64
	)
	if err := row.Scan(append([]any{&a.SHA256, &a.Size, &a.Name, &a.Place, &a.Creator, &created, &since}, more...)...); err != nil {
		return nil, err
	}
	a.Created = time.UnixMicro(created).UTC()
	if since.Valid {
		a.Unreferenced = time.UnixMicro(since.Int64).UTC()
	}
	return &a, nil
}

// hold returns the artifact and has it kept for another grace period; nil when
// there is none.
func (s *Store) hold(ctx context.Context, tx *sql.Tx, sha256 string) (*Artifact, error) {
	a, err := scanArtifact(tx.QueryRowContext(ctx, `UPDATE registry_artifacts SET unreferenced_since = NULL
		WHERE sha256 = $1 RETURNING `+artifactColumns, sha256))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // there is none, which is no error
	}
	return a, err
}

// HoldArtifact returns an artifact and has it kept for another grace period; nil
// when there is none.
func (s *Store) HoldArtifact(ctx context.Context, sha256 string) (a *Artifact, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		a, err = s.hold(ctx, tx, sha256)
		return err
	})
	return a, failure(ctx, err, "hold artifact")
}

func discard(ctx context.Context, tx *sql.Tx, place string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO registry_artifact_trash (place) VALUES ($1) ON CONFLICT DO NOTHING`, place)
	return err
}

// GetArtifact returns an artifact.
func (s *Store) GetArtifact(ctx context.Context, sha256 string) (*Artifact, error) {
	a, err := s.artifact(ctx, s.db.Reader(), sha256)
	return a, failure(ctx, err, "get artifact")
}

func (s *Store) artifact(ctx context.Context, q querier, sha256 string) (*Artifact, error) {
	a, err := scanArtifact(q.QueryRowContext(ctx, `SELECT `+artifactColumns+` FROM registry_artifacts WHERE sha256 = $1`, sha256))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound("sha256", "there is no artifact %s", sha256)
	}
	return a, err
}

// ListArtifacts returns at most limit artifacts by their SHA-256, those after
// the given one.
func (s *Store) ListArtifacts(ctx context.Context, after string, limit int) ([]*Artifact, error) {
	out, err := collect(ctx, s.db.Reader(), func(row scanner) (*Artifact, error) {
		var referring int32
		a, err := scanArtifactAnd(row, &referring)
		if err == nil {
			a.Referring = referring
		}
		return a, err
	}, `SELECT `+artifactColumns+`,
			(SELECT count(*) FROM registry_version_artifacts v WHERE v.sha256 = a.sha256) +
			(SELECT count(*) FROM registry_variant_artifacts v WHERE v.sha256 = a.sha256)
		FROM registry_artifacts a WHERE sha256 > $1 ORDER BY sha256 LIMIT $2`, after, limit)
	return out, failure(ctx, err, "list artifacts")
}

// references is every version and variant that refers to the artifact $1.
const references = `SELECT model, version, '' AS variant FROM registry_version_artifacts WHERE sha256 = $1
	UNION ALL SELECT model, version, variant FROM registry_variant_artifacts WHERE sha256 = $1`

// References returns how many versions and variants refer to an artifact, and
// at most limit of them.
func (s *Store) References(ctx context.Context, sha256 string, limit int) (count int32, list []Reference, err error) {
	err = s.snapshot(ctx, "references", func(ctx context.Context, q querier) error {
		count, list, err = refersTo(ctx, q, sha256, limit)
		return err
	})
	return count, list, err
}

func refersTo(ctx context.Context, q querier, sha256 string, limit int) (count int32, list []Reference, err error) {
	if err := q.QueryRowContext(ctx, `SELECT count(*) FROM (`+references+`) AS r`, sha256).Scan(&count); err != nil {
		return 0, nil, err
	}
	list, err = collect(ctx, q, func(row scanner) (Reference, error) {
		var r Reference
		err := row.Scan(&r.Model, &r.Version, &r.Variant)
		return r, err
	}, `SELECT model, version, variant FROM (`+references+`) AS r ORDER BY model, version, variant LIMIT $2`, sha256, limit)
	return count, list, err
}

// DeleteArtifact deletes an artifact to which nothing refers. Its content is
// trash then.
func (s *Store) DeleteArtifact(ctx context.Context, sha256 string) error {
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := lockChanges(ctx, tx); err != nil {
			return err
		}
		a, err := s.artifact(ctx, tx, sha256)
		if err != nil {
			return err
		}
		n, list, err := refersTo(ctx, tx, sha256, 1)
		if err != nil {
			return err
		}
		if n > 0 {
			return apierr.New(apierr.FailedPrecondition, "%d versions and variants refer to the artifact, %s@v%d among them", n, list[0].Model, list[0].Version).
				WithField("sha256")
		}
		return remove(ctx, tx, a)
	})
	return failure(ctx, err, "delete artifact")
}

func remove(ctx context.Context, tx *sql.Tx, a *Artifact) error {
	if err := discard(ctx, tx, a.Place); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM registry_artifacts WHERE sha256 = $1`, a.SHA256)
	return err
}

// unreferenced is the condition on artifacts that nothing refers to.
const unreferenced = `NOT EXISTS (SELECT 1 FROM registry_version_artifacts r WHERE r.sha256 = registry_artifacts.sha256)
	AND NOT EXISTS (SELECT 1 FROM registry_variant_artifacts r WHERE r.sha256 = registry_artifacts.sha256)`

// MarkArtifacts notes which artifacts nothing refers to any more, and which are
// referred to again.
func (s *Store) MarkArtifacts(ctx context.Context) error {
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := lockChanges(ctx, tx); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE registry_artifacts SET unreferenced_since = NULL
			WHERE unreferenced_since IS NOT NULL AND NOT (`+unreferenced+`)`)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE registry_artifacts SET unreferenced_since = $1
			WHERE unreferenced_since IS NULL AND `+unreferenced, micros(s.opts.Clock.Now()))
		return err
	})
	return failure(ctx, err, "mark artifacts")
}

// Garbage is artifacts that nothing refers to.
type Garbage struct {
	Artifacts []*Artifact
	// Waiting is how many more there are that nothing has referred to only since
	// later than was asked for.
	Waiting int64
}

// Unreferenced returns at most limit artifacts that nothing has referred to since
// the given time.
func (s *Store) Unreferenced(ctx context.Context, since time.Time, limit int) (Garbage, error) {
	var g Garbage
	err := s.snapshot(ctx, "unreferenced artifacts", func(ctx context.Context, q querier) (err error) {
		g, err = garbage(ctx, q, since, limit)
		return err
	})
	return g, err
}

func garbage(ctx context.Context, q querier, since time.Time, limit int) (g Garbage, err error) {
	g.Artifacts, err = collect(ctx, q, scanArtifact, `SELECT `+artifactColumns+` FROM registry_artifacts
		WHERE unreferenced_since <= $1 AND `+unreferenced+` ORDER BY sha256 LIMIT $2`, micros(since), limit)
	if err != nil {
		return g, err
	}
	err = q.QueryRowContext(ctx, `SELECT count(*) FROM registry_artifacts
		WHERE (unreferenced_since IS NULL OR unreferenced_since > $1) AND `+unreferenced, micros(since)).Scan(&g.Waiting)
	return g, err
}

// SweepArtifacts deletes at most limit artifacts that nothing has referred to
// since the given time, and returns them. No version can begin to refer to one
// meanwhile: either it does so before, and the artifact stays, or it finds none.
func (s *Store) SweepArtifacts(ctx context.Context, since time.Time, limit int) (Garbage, error) {
	var g Garbage
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		err := lockChanges(ctx, tx)
		if err != nil {
			return err
		}
		if g, err = garbage(ctx, tx, since, limit); err != nil {
			return err
		}
		for _, a := range g.Artifacts {
			// What is held at this moment by an upload of the same content stays.
			res, err := tx.ExecContext(ctx, `UPDATE registry_artifacts SET unreferenced_since = unreferenced_since
				WHERE sha256 = $1 AND unreferenced_since <= $2`, a.SHA256, micros(since))
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil || n == 0 {
				return errors.Join(err, errHeld)
			}
			if err := remove(ctx, tx, a); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errHeld) {
		return Garbage{}, nil // the next sweep sees
	}
	return g, failure(ctx, err, "sweep artifacts")
}

// errHeld says that an artifact was held while it was about to be swept.
var errHeld = errors.New("held meanwhile")

// Trash returns at most limit places whose content is to be removed.
func (s *Store) Trash(ctx context.Context, limit int) ([]string, error) {
	out, err := collect(ctx, s.db.Reader(), func(row scanner) (string, error) {
		var place string
		err := row.Scan(&place)
		return place, err
	}, `SELECT place FROM registry_artifact_trash ORDER BY place LIMIT $1`, limit)
	return out, failure(ctx, err, "list trash")
}

// Removed notes that the content at a place is removed.
func (s *Store) Removed(ctx context.Context, place string) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM registry_artifact_trash WHERE place = $1`, place)
	return failure(ctx, err, "removed")
}

// ArtifactStats is what is kept and what is open.
type ArtifactStats struct {
	Artifacts, ArtifactBytes, Uploads, UploadBytes int64
}

// ArtifactStats counts artifacts and open uploads.
func (s *Store) ArtifactStats(ctx context.Context) (ArtifactStats, error) {
	var st ArtifactStats
	q := s.db.Reader()
	err := q.QueryRowContext(ctx, `SELECT count(*), COALESCE(sum(size_bytes), 0) FROM registry_artifacts`).Scan(&st.Artifacts, &st.ArtifactBytes)
	if err == nil {
		err = q.QueryRowContext(ctx, `SELECT count(*), COALESCE(sum(received), 0) FROM registry_uploads WHERE state = $1`, uploadOpen).
			Scan(&st.Uploads, &st.UploadBytes)
	}
	if err != nil {
		err = fmt.Errorf("count artifacts: %w", err)
	}
	return st, failure(ctx, err, "artifact stats")
}
