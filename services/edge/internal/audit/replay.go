package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/poterne/poterne/services/edge/auditproof"
	"github.com/poterne/poterne/services/edge/internal/linefile"
)

// Replayed is what a journal held at the start.
type Replayed struct {
	// Chains are those that ended without this process, in the order of their files.
	Chains []string
	// Unfinished are the changes whose outcome nobody knows.
	Unfinished []Record
	// Records is how many records the sink was given; it may have had them.
	Records int
	// Skipped is how many lines could not be read: the last one of a file that a loss
	// of power cut.
	Skipped int

	paths []string
}

// Replay gives the sink what earlier processes left in the journal. The files are
// deleted by Done, once the unfinished changes are recorded.
func (j *Journal) Replay(ctx context.Context, sink Sink) (Replayed, error) {
	var out Replayed
	paths, err := filepath.Glob(filepath.Join(j.dir, "*"+journalSuffix))
	if err != nil {
		return out, fmt.Errorf("audit: look into the journal: %w", err)
	}
	slices.Sort(paths)
	out.paths = paths
	begun, ended := make(map[string]Record), make(map[string]bool)
	for _, path := range paths {
		name := filepath.Base(path)
		if i := strings.LastIndexByte(name, '-'); i > 0 && !slices.Contains(out.Chains, name[:i]) {
			out.Chains = append(out.Chains, name[:i])
		}
		if err := out.file(ctx, path, sink, begun, ended); err != nil {
			return out, fmt.Errorf("audit: replay %s: %w", name, err)
		}
	}
	for id, rec := range begun {
		if !ended[id] {
			rec.Reason = Unfinished
			out.Unfinished = append(out.Unfinished, rec)
		}
	}
	slices.SortFunc(out.Unfinished, func(a, b Record) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func (r *Replayed) file(ctx context.Context, path string, sink Sink, begun map[string]Record, ended map[string]bool) error {
	var batch []Record
	var contents []Sealed
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := writeBoth(ctx, sink, batch, contents)
		r.Records += len(batch)
		batch, contents = batch[:0], nil
		return err
	}
	torn, err := linefile.Read(path, func(object []byte) error {
		var l journalLine
		if json.Unmarshal(object, &l) != nil || l.Record == nil && l.Begun == nil {
			r.Skipped++
			return nil //nolint:nilerr // it is counted
		}
		if l.Begun != nil {
			begun[l.Begun.ID] = *l.Begun
			return nil
		}
		ended[l.Record.ID] = true
		l.Record.Decisions = l.Decisions
		if l.Content != nil {
			contents = append(contents, *l.Content)
		}
		if batch = append(batch, *l.Record); len(batch) == maxBatch {
			return flush()
		}
		return nil
	})
	r.Skipped += torn
	if err != nil {
		return err
	}
	return flush()
}

// Done deletes the files that were replayed.
func (r *Replayed) Done() error {
	for _, path := range r.paths {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("audit: delete a file of the journal: %w", err)
		}
	}
	r.paths = nil
	return nil
}

// Chain is the chain that a process writes. It is not safe for concurrent use: the
// trail holds its lock.
type Chain struct {
	name string
	tree auditproof.Tree
	head auditproof.Hash
	form []byte // of the last record, whose memory the next one takes
}

// NewChain returns the chain that was registered as r.
func NewChain(r auditproof.Registration) *Chain { return &Chain{name: r.Chain, head: r.Hash} }

// link gives a record its place. The record must be normal.
func (c *Chain) link(rec *Record) {
	rec.Chain, rec.Sequence, rec.Previous = c.name, c.tree.Size, c.head
	rec.Hash, c.form = rec.SumIn(c.form)
	c.head = rec.Hash
	c.tree.Add(rec.Hash)
}

// state returns the chain as it is now, for a checkpoint.
func (c *Chain) state() auditproof.Checkpoint {
	return auditproof.Checkpoint{Chain: c.name, Tree: c.tree.Clone(), Head: c.head}
}
