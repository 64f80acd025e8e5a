package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
)

// State says where an embedding generation is between its creation and its
// removal.
type State string

// The states, as the API shows them.
const (
	// Building: documents are being embedded; it has no index yet.
	Building State = "building"
	// Ready: it has every document and an index, and follows writes.
	Ready State = "ready"
	// Serving: searches ask it. One of a collection does at any time.
	Serving State = "serving"
	// Retired: it served, and follows writes so that it can again.
	Retired State = "retired"
	// Failed: documents are missing that could not be embedded.
	Failed State = "failed"
	// Removing: its passages and its index are being removed.
	Removing State = "removing"
)

// EmbeddingGeneration is all passages of a collection as one version of an
// embedding model, one chunking and one analyser made them.
type EmbeddingGeneration struct {
	// Number counts from 1 in the collection and is never used again.
	Number         int
	EmbeddingModel string
	// EmbeddingDigest and Dimensions are "" and 0 until the first document.
	EmbeddingDigest string
	Dimensions      int
	Chunking        Chunking
	// Analyser is the version of the analyser that counted the terms.
	Analyser int
	State    State
	// Reason says why it waits or failed.
	Reason         string
	ServeWhenReady bool
	// Through is the generation of the collection that it has followed; while it
	// serves that is the present one, whatever this says.
	Through int64
	// Rate is how many documents a second it embedded of late.
	Rate float64
	// Done of Total documents it has, and Failed of the others cannot be embedded.
	Done, Total, Failed int
	CreateTime          time.Time
	// The others are zero until then.
	ReadyTime, ServeTime, RetireTime time.Time
}

func noEmbeddingGeneration(number int) error {
	return apierr.New(apierr.NotFound, "there is no embedding generation %d", number).WithField("embedding_generation")
}

const generationColumns = `g.number, g.embedding_model, g.embedding_digest, g.dimensions, g.chunking, g.analyser, g.state, g.reason,
	g.serve_when_ready, g.through, g.rate, g.create_time, g.ready_time, g.serve_time, g.retire_time`

func scanGeneration(row scanner, more ...any) (EmbeddingGeneration, error) {
	var g EmbeddingGeneration
	var chunking string
	var when int
	var created, ready, served, retired int64
	if err := row.Scan(append([]any{
		&g.Number, &g.EmbeddingModel, &g.EmbeddingDigest, &g.Dimensions, &chunking, &g.Analyser, &g.State, &g.Reason,
		&when, &g.Through, &g.Rate, &created, &ready, &served, &retired,
	}, more...)...); err != nil {
		return EmbeddingGeneration{}, err
	}
	g.ServeWhenReady = when != 0
	for at, nanos := range map[*time.Time]int64{&g.CreateTime: created, &g.ReadyTime: ready, &g.ServeTime: served, &g.RetireTime: retired} {
		if nanos != 0 {
			*at = fromNanos(nanos)
		}
	}
	var err error
	g.Chunking, err = decodeChunking(chunking)
	return g, err
}

func encodeChunking(c Chunking) (string, error) {
	if c == (Chunking{}) {
		return "", nil
	}
	b, err := json.Marshal(c)
	return string(b), err
}

func decodeChunking(s string) (c Chunking, err error) {
	if s == "" {
		return c, nil
	}
	if err := json.Unmarshal([]byte(s), &c); err != nil {
		return c, fmt.Errorf("search store: chunking: %w", err)
	}
	return c, nil
}

func insertEmbeddingGeneration(ctx context.Context, tx *sql.Tx, uid string, g EmbeddingGeneration, now int64) error {
	chunking, err := encodeChunking(g.Chunking)
	if err != nil {
		return err
	}
	var served int64
	if g.State == Serving {
		served = now
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO search_embedding_generations
			(collection, number, embedding_model, chunking, analyser, state, serve_when_ready, create_time, ready_time, serve_time)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)`,
		uid, g.Number, g.EmbeddingModel, chunking, g.Analyser, string(g.State), flag(g.ServeWhenReady), now, served)
	return err
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// EmbeddingGeneration returns one of the collection's, or NOT_FOUND.
func (s *Store) EmbeddingGeneration(ctx context.Context, c Collection, number int) (EmbeddingGeneration, error) {
	found, err := s.embeddingGenerations(ctx, c, `AND g.number = $2`, number)
	if err != nil {
		return EmbeddingGeneration{}, err
	}
	if len(found) == 0 {
		return EmbeddingGeneration{}, noEmbeddingGeneration(number)
	}
	return found[0], nil
}

// EmbeddingGenerations returns the collection's, the newest first. There are few:
// one that serves, one that is built, and what is kept of those before.
func (s *Store) EmbeddingGenerations(ctx context.Context, c Collection) ([]EmbeddingGeneration, error) {
	return s.embeddingGenerations(ctx, c, ``)
}

func (s *Store) embeddingGenerations(ctx context.Context, c Collection, where string, args ...any) (out []EmbeddingGeneration, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `
		SELECT `+generationColumns+`, c.document_count,
			(SELECT count(*) FROM search_documents d WHERE d.collection = c.uid AND d.no > g.through),
			(SELECT count(*) FROM search_embedding_failures f WHERE f.collection = c.uid AND f.embedding_generation = g.number)
		FROM search_collections c JOIN search_embedding_generations g ON g.collection = c.uid
		WHERE c.uid = $1 `+where+` ORDER BY g.number DESC`, append([]any{c.UID}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("search store: list embedding generations: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var left int
		var total, failed int
		g, err := scanGeneration(rows, &total, &left, &failed)
		if err != nil {
			return nil, fmt.Errorf("search store: list embedding generations: %w", err)
		}
		if g.State == Serving {
			left = 0
		}
		g.Total, g.Failed, g.Done = total, failed, total-left-failed
		out = append(out, g)
	}
	return out, rows.Err()
}

// Live is an embedding generation that does not serve and is worked on: it is
// being built, follows writes, or is being removed.
type Live struct {
	// Collection is at that embedding generation.
	Collection Collection
	EmbeddingGeneration
}

// Live returns those of all collections, of every tenant, the oldest first.
func (s *Store) Live(ctx context.Context) ([]Live, error) {
	all, err := s.AllCollections(ctx)
	if err != nil {
		return nil, err
	}
	return s.LiveOf(ctx, all)
}

// LiveOf is Live for one who has read the collections already.
func (s *Store) LiveOf(ctx context.Context, all []Collection) (out []Live, err error) {
	byUID := make(map[string]Collection, len(all))
	for _, c := range all {
		byUID[c.UID] = c
	}
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT `+generationColumns+`, g.collection
		FROM search_embedding_generations g WHERE g.state IN ('building', 'ready', 'retired', 'removing') ORDER BY g.create_time`)
	if err != nil {
		return nil, fmt.Errorf("search store: list embedding generations: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var uid string
		g, err := scanGeneration(rows, &uid)
		if err != nil {
			return nil, fmt.Errorf("search store: list embedding generations: %w", err)
		}
		if c, ok := byUID[uid]; ok {
			c = c.At(g.Number)
			c.Chunking, c.Analyser = g.Chunking, g.Analyser
			out = append(out, Live{Collection: c, EmbeddingGeneration: g})
		}
	}
	return out, rows.Err()
}
