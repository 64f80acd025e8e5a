package audit

import (
	"context"
	"errors"

	"github.com/poterne/poterne/services/edge/auditproof"
)

// VerifyRange says what is verified; the zero value is everything.
type VerifyRange struct {
	// Chain restricts to one chain.
	Chain string
	// Checkpoints are some that were kept elsewhere: signed notes.
	Checkpoints []string
}

// Verify verifies what the store holds, against the checkpoints there and elsewhere,
// and against what this process knows of its own chain. progress is called now and
// then with the records read so far; its error ends the work.
func (t *Trail) Verify(ctx context.Context, s *SQLSink, keys *Keys, in VerifyRange, progress func(records int64) error) (auditproof.Report, error) {
	if err := t.Flush(ctx); err != nil {
		return auditproof.Report{}, err
	}
	before := t.inSink() // which the snapshot has
	var report auditproof.Report
	err := s.Snapshot(ctx, func(ctx context.Context, s *SQLSink) (err error) {
		report, err = verify(ctx, s, keys, in, before, progress)
		return err
	})
	return report, err
}

func verify(ctx context.Context, s *SQLSink, keys *Keys, in VerifyRange, before written, progress func(int64) error) (auditproof.Report, error) {
	v := auditproof.NewVerifier(auditproof.Options{Keys: keys.Verifiers(), Registered: true})
	regs, err := s.Registrations(ctx)
	if err != nil {
		return auditproof.Report{}, err
	}
	names, err := s.Names(ctx)
	if err != nil {
		return auditproof.Report{}, err
	}
	for _, r := range regs {
		v.Registration(r)
	}
	texts, err := s.Checkpoints(ctx, in.Chain)
	if err != nil {
		return auditproof.Report{}, err
	}
	for _, text := range append(texts, in.Checkpoints...) {
		if c, err := auditproof.ReadCheckpoint(text); err == nil && in.Chain != "" && c.Chain != in.Chain {
			continue
		}
		v.Checkpoint(text)
	}
	if known := before; known.chain != "" && (in.Chain == "" || in.Chain == known.chain) {
		v.Head(known.chain, known.size, known.head)
	}
	var records int64
	for _, name := range names {
		if in.Chain != "" && name != in.Chain {
			continue
		}
		err := s.Chained(ctx, name, 0, func(r Record) error {
			if records++; records%chainPage == 0 {
				if err := progress(records); err != nil {
					return err
				}
			}
			v.Record(r)
			return nil
		})
		if err != nil {
			return auditproof.Report{}, err
		}
		if err := s.checkContents(ctx, name, v.Find); err != nil {
			return auditproof.Report{}, err
		}
	}
	if in.Chain == "" {
		if err := s.unchained(ctx, v.Record); err != nil {
			return auditproof.Report{}, err
		}
	}
	return v.Finish(), nil
}

// written is what of its own chain a process knows to be in the sink.
type written struct {
	chain string
	size  int64
	head  auditproof.Hash
}

func (t *Trail) inSink() written {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.chain == nil {
		return written{}
	}
	return t.sunk
}

// unchained calls fn with the records that are in no chain.
func (s *SQLSink) unchained(ctx context.Context, fn func(Record)) error {
	q := Query{Limit: chainPage, Oldest: true, Filter: Filter{sql: "chain = $", args: []any{""}}}
	for {
		page, err := s.List(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range page {
			fn(r)
		}
		if len(page) < chainPage {
			return nil
		}
		q.Before = PositionOf(page[len(page)-1])
	}
}

// Everything gives one state of the trail: first what the records are verified by,
// then those of each chain in their order, then those that are in none.
func (s *SQLSink) Everything(ctx context.Context, proof func([]auditproof.Registration, []string) error, records func([]Record) error) error {
	return s.Snapshot(ctx, func(ctx context.Context, s *SQLSink) error {
		regs, err := s.Registrations(ctx)
		if err != nil {
			return err
		}
		texts, err := s.Checkpoints(ctx, "")
		if err != nil {
			return err
		}
		names, err := s.Names(ctx)
		if err != nil {
			return err
		}
		if err := proof(regs, texts); err != nil {
			return err
		}
		var page []Record
		give := func(r Record) error {
			if page = append(page, r); len(page) < chainPage/2 {
				return nil
			}
			err := records(page)
			page = page[:0]
			return err
		}
		for _, name := range names {
			if err := s.Chained(ctx, name, 0, give); err != nil {
				return err
			}
		}
		var failed error
		if err := s.unchained(ctx, func(r Record) { failed = errors.Join(failed, give(r)) }); err != nil {
			return err
		}
		return errors.Join(failed, records(page))
	})
}
