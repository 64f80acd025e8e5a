package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/sqldb"
)

// Uploads and artifacts serve nobody until a version refers to them: consumers
// are told of versions only, so that what changes here takes no revision.

// The states of an upload.
const (
	uploadOpen     = "open"
	uploadComplete = "complete"
	uploadDropped  = "dropped"
)

// Upload is a file that is being uploaded.
type Upload struct {
	ID, Name, Creator string
	// SHA256 is what it shall have, or has once it is complete; may be empty
	// before.
	SHA256 string
	// Size, Received and PartBytes are bytes.
	Size, Received, PartBytes int64
	// HashState is that of the SHA-256 over what was received.
	HashState []byte
	// Handle is what the store of contents knows it by.
	Handle string
	// Attempts is how many parts were begun.
	Attempts                  int32
	Complete, Dropped         bool
	Created, Updated, Expires time.Time
}

// UploadPart is a part of an upload that is kept.
type UploadPart struct {
	// Number counts the parts from 1, Attempt all that were begun.
	Number, Attempt int32
	// Offset and Size are bytes.
	Offset, Size int64
	SHA256       string
	// Tag is what the store of contents gave for it.
	Tag string
}

// UploadLimits bound the uploads that are open.
type UploadLimits struct {
	// Uploads is how many there may be, and Bytes how large their files together.
	Uploads int
	Bytes   int64
	// ArtifactBytes is how large all artifacts and open uploads together may be;
	// 0 is no bound.
	ArtifactBytes int64
}

const uploadColumns = `id, state, name, size_bytes, sha256, received, hash_state, attempts, handle, part_bytes, creator,
	create_time, update_time, expire_time`

func scanUpload(row scanner) (*Upload, error) {
	var (
		u                         = new(Upload)
		state                     string
		created, updated, expires int64
	)
	err := row.Scan(&u.ID, &state, &u.Name, &u.Size, &u.SHA256, &u.Received, &u.HashState, &u.Attempts, &u.Handle,
		&u.PartBytes, &u.Creator, &created, &updated, &expires)
	if err != nil {
		return nil, err
	}
	u.Complete, u.Dropped = state == uploadComplete, state == uploadDropped
	u.Created, u.Updated, u.Expires = time.UnixMicro(created).UTC(), time.UnixMicro(updated).UTC(), time.UnixMicro(expires).UTC()
	return u, nil
}

// CreateUpload begins u, unless its content is an artifact already: that one is
// returned then, and is kept for another grace period.
func (s *Store) CreateUpload(ctx context.Context, u *Upload, limits UploadLimits) (there *Artifact, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if u.SHA256 != "" {
			if there, err = s.hold(ctx, tx, u.SHA256); err != nil || there != nil {
				return err
			}
		}
		if err := checkRoom(ctx, tx, u.Size, limits); err != nil {
			return err
		}
		now := micros(s.opts.Clock.Now())
		_, err := tx.ExecContext(ctx, `INSERT INTO registry_uploads (`+uploadColumns+`)
			VALUES ($1, $2, $3, $4, $5, 0, $6, 0, $7, $8, $9, $10, $10, $11)`,
			u.ID, uploadOpen, u.Name, u.Size, u.SHA256, u.HashState, u.Handle, u.PartBytes, u.Creator, now, micros(u.Expires))
		return err
	})
	return there, failure(ctx, err, "create upload")
}

func checkRoom(ctx context.Context, q querier, size int64, limits UploadLimits) error {
	var count int
	var bytes, artifacts int64
	err := q.QueryRowContext(ctx, `SELECT count(*), COALESCE(sum(size_bytes), 0) FROM registry_uploads WHERE state = $1`, uploadOpen).
		Scan(&count, &bytes)
	if err != nil {
		return fmt.Errorf("count uploads: %w", err)
	}
	switch {
	case count >= limits.Uploads:
		return apierr.New(apierr.QuotaExceeded, "%d uploads are open, as many as may be: complete or delete some", count)
	case bytes+size > limits.Bytes:
		return apierr.New(apierr.QuotaExceeded, "the open uploads would have %d bytes together, and may have %d: complete or delete some",
			bytes+size, limits.Bytes)
	case limits.ArtifactBytes == 0:
		return nil
	}
	err = q.QueryRowContext(ctx, `SELECT COALESCE(sum(size_bytes), 0) FROM registry_artifacts`).Scan(&artifacts)
	if err != nil {
		return fmt.Errorf("count artifacts: %w", err)
	}
	if total := artifacts + bytes + size; total > limits.ArtifactBytes {
		return apierr.New(apierr.StorageFull, "the artifacts and open uploads would have %d bytes together, and may have %d",
			total, limits.ArtifactBytes)
	}
	return nil
}

// SetUploadHandle notes what the store of contents knows the upload by.
func (s *Store) SetUploadHandle(ctx context.Context, id, handle string) error {
	_, err := s.db.ExecContext(ctx, `UPDATE registry_uploads SET handle = $1 WHERE id = $2`, handle, id)
	return failure(ctx, err, "set upload handle")
}

// GetUpload returns an upload that is open or complete.
func (s *Store) GetUpload(ctx context.Context, id string) (*Upload, error) {
	u, err := s.upload(ctx, s.db.Reader(), id)
	return u, failure(ctx, err, "get upload")
}

func (s *Store) upload(ctx context.Context, q querier, id string) (*Upload, error) {
	u, err := scanUpload(q.QueryRowContext(ctx, `SELECT `+uploadColumns+` FROM registry_uploads WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) || err == nil && u.Dropped {
		return nil, notFound("upload", "there is no upload %.64q", id)
	}
	return u, err
}

// ListUploads returns at most limit open uploads, newest first: those after the
// one with that time of creation and id, both empty for the first, and with that
// SHA-256 unless it is empty.
func (s *Store) ListUploads(ctx context.Context, sha256 string, before time.Time, beforeID string, limit int) ([]*Upload, error) {
	at := int64(1<<63 - 1)
	if beforeID != "" {
		at = micros(before)
	}
	out, err := collect(ctx, s.db.Reader(), scanUpload, `SELECT `+uploadColumns+` FROM registry_uploads
		WHERE state = $1 AND ($2 = '' OR sha256 = $2) AND (create_time < $3 OR create_time = $3 AND id < $4)
		ORDER BY create_time DESC, id DESC LIMIT $5`, uploadOpen, sha256, at, beforeID, limit)
	return out, failure(ctx, err, "list uploads")
}

// ListUploadParts returns at most limit parts by number, those after the given
// one.
func (s *Store) ListUploadParts(ctx context.Context, id string, after int32, limit int) ([]UploadPart, error) {
	out, err := collect(ctx, s.db.Reader(), func(row scanner) (UploadPart, error) {
		var p UploadPart
		err := row.Scan(&p.Number, &p.Attempt, &p.Offset, &p.Size, &p.SHA256, &p.Tag)
		return p, err
	}, `SELECT number, attempt, start, size_bytes, sha256, tag FROM registry_upload_parts
		WHERE upload = $1 AND number > $2 ORDER BY number LIMIT $3`, id, after, limit)
	return out, failure(ctx, err, "list parts")
}

// errMoved says that somebody else appended to the upload.
func errMoved(id string) error {
	return apierr.New(apierr.Conflict, "somebody else appends to the upload %.64q", id).WithField("offset")
}

// BeginPart counts an attempt at a part that begins at offset and returns its
// number. CONFLICT: the upload is not there.
func (s *Store) BeginPart(ctx context.Context, id string, offset int64) (attempt int32, err error) {
	err = s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `UPDATE registry_uploads SET attempts = attempts + 1
			WHERE id = $1 AND state = $2 AND received = $3 RETURNING attempts`, id, uploadOpen, offset).Scan(&attempt)
		if errors.Is(err, sql.ErrNoRows) {
			return errMoved(id)
		}
		return err
	})
	return attempt, failure(ctx, err, "begin part")
}

// KeepPart notes that the part is kept, with the state of the hash after it. It
// counts for the upload unless somebody else appended meanwhile.
func (s *Store) KeepPart(ctx context.Context, id string, p UploadPart, hashState []byte, expires time.Time) error {
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var number int32
		err := tx.QueryRowContext(ctx, `UPDATE registry_uploads SET received = received + $1, hash_state = $2, update_time = $3, expire_time = $4
			WHERE id = $5 AND state = $6 AND received = $7
			RETURNING 1 + (SELECT count(*) FROM registry_upload_parts WHERE upload = $5)`,
			p.Size, hashState, micros(s.opts.Clock.Now()), micros(expires), id, uploadOpen, p.Offset).Scan(&number)
		if errors.Is(err, sql.ErrNoRows) {
			return errMoved(id)
		}
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO registry_upload_parts (upload, number, attempt, start, size_bytes, sha256, tag)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`, id, number, p.Attempt, p.Offset, p.Size, p.SHA256, p.Tag)
		return err
	})
	return failure(ctx, err, "keep part")
}

// DropUpload gives an open upload up, or forgets a complete one, and reports
// whether it was open: what came of it is then to be removed, by the caller or by
// whoever finds it in DroppedUploads. What came of a complete one is an artifact's.
func (s *Store) DropUpload(ctx context.Context, id string) (open bool, err error) {
	for _, query := range []string{
		`DELETE FROM registry_uploads WHERE id = $1 AND state = '` + uploadComplete + `'`,
		`UPDATE registry_uploads SET state = '` + uploadDropped + `' WHERE id = $1 AND state = '` + uploadOpen + `'`,
		// It may have become complete in between.
		`DELETE FROM registry_uploads WHERE id = $1 AND state = '` + uploadComplete + `'`,
	} {
		res, err := s.db.ExecContext(ctx, query, id)
		var changed int64
		if err == nil {
			changed, err = res.RowsAffected()
		}
		if err != nil {
			return false, failure(ctx, err, "drop upload")
		}
		if changed > 0 {
			return open, nil
		}
		open = !open
	}
	return false, notFound("upload", "there is no upload %.64q", id)
}

// ExpireUploads forgets the complete uploads and drops the open ones that are
// over, and returns how many of the latter.
func (s *Store) ExpireUploads(ctx context.Context) (int64, error) {
	now := micros(s.opts.Clock.Now())
	_, err := s.db.ExecContext(ctx, `DELETE FROM registry_uploads WHERE state = $1 AND expire_time <= $2`, uploadComplete, now)
	var n int64
	if err == nil {
		var res sql.Result
		res, err = s.db.ExecContext(ctx, `UPDATE registry_uploads SET state = $1 WHERE state = $2 AND expire_time <= $3`,
			uploadDropped, uploadOpen, now)
		if err == nil {
			n, err = res.RowsAffected()
		}
	}
	return n, failure(ctx, err, "expire uploads")
}

// DroppedUploads returns uploads whose content is to be removed, at most limit.
func (s *Store) DroppedUploads(ctx context.Context, limit int) ([]*Upload, error) {
	return s.uploadsWhere(ctx, `state = $1`, limit, uploadDropped)
}

// WholeUploads returns open uploads that are all there and were begun with a
// SHA-256, at most limit: whoever completed them was interrupted.
func (s *Store) WholeUploads(ctx context.Context, limit int) ([]*Upload, error) {
	return s.uploadsWhere(ctx, `state = $1 AND received = size_bytes AND sha256 <> ''`, limit, uploadOpen)
}

func (s *Store) uploadsWhere(ctx context.Context, condition string, limit int, args ...any) ([]*Upload, error) {
	out, err := collect(ctx, s.db.Reader(), scanUpload, fmt.Sprintf(`SELECT %s FROM registry_uploads WHERE %s ORDER BY id LIMIT %d`,
		uploadColumns, condition, limit), args...)
	return out, failure(ctx, err, "list uploads")
}

// ForgetUpload removes a dropped upload whose content is removed.
func (s *Store) ForgetUpload(ctx context.Context, id string) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM registry_uploads WHERE id = $1 AND state = $2`, id, uploadDropped)
	return failure(ctx, err, "forget upload")
}

// CompleteUpload makes an artifact of an upload whose content lies at place. If
// there is an artifact of that content already, that one is returned and what
// lies at place is trash.
func (s *Store) CompleteUpload(ctx context.Context, id, sha256, place string, keep time.Time) (*Artifact, error) {
	var out *Artifact
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		u, err := s.upload(ctx, tx, id)
		if err != nil {
			return err
		}
		if out, err = s.hold(ctx, tx, sha256); err != nil {
			return err
		}
		switch {
		case out == nil:
			out, err = scanArtifact(tx.QueryRowContext(ctx, `INSERT INTO registry_artifacts (`+artifactColumns+`)
				VALUES ($1, $2, $3, $4, $5, $6, NULL) RETURNING `+artifactColumns,
				sha256, u.Size, u.Name, place, u.Creator, micros(s.opts.Clock.Now())))
		case out.Place != place && place != "":
			err = discard(ctx, tx, place)
		}
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM registry_upload_parts WHERE upload = $1`, id); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE registry_uploads SET state = $1, sha256 = $2, expire_time = $3 WHERE id = $4`,
			uploadComplete, sha256, micros(keep), id)
		return err
	})
	if sqldb.IsUnique(err) { // somebody else completed the same content at this moment
		return nil, apierr.Wrap(apierr.Unavailable, err, "the same content is being completed by somebody else; try again")
	}
	return out, failure(ctx, err, "complete upload")
}
