package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/auditproof"
)

// maxProofLeaves bounds what a proof holds in memory: 64 bytes for each record
// between two checkpoints.
const maxProofLeaves = 1 << 20

// ProvenRecord is a record with its inclusion proof, which is empty when no
// checkpoint has it yet.
type ProvenRecord struct {
	Record
	Proof string
}

// Proofs gives the records that q selects, of each chain in its order, with proofs;
// first the keys that have signed. sign brings what this process wrote under a
// checkpoint. Order, Before and Limit of q do not count.
func (s *SQLSink) Proofs(ctx context.Context, q Query, keys *Keys, verifiers func([]string) error, give func([]ProvenRecord) error) error {
	return s.Snapshot(ctx, func(ctx context.Context, s *SQLSink) error {
		regs, err := s.Registrations(ctx)
		if err != nil {
			return err
		}
		var texts []string
		for _, r := range regs {
			if !slices.Contains(texts, r.Key) {
				texts = append(texts, r.Key)
			}
		}
		if err := verifiers(texts); err != nil {
			return err
		}
		for _, r := range regs {
			if err := s.chainProofs(ctx, r.Chain, q, keys, give); err != nil {
				return err
			}
		}
		return nil
	})
}

const proofPage = 200

func (s *SQLSink) chainProofs(ctx context.Context, chain string, q Query, keys *Keys, give func([]ProvenRecord) error) error {
	var p *prover
	for from := int64(0); ; {
		page, err := s.selected(ctx, q, chain, from)
		if err != nil || len(page) == 0 {
			return err
		}
		if p == nil {
			if p, err = s.prover(ctx, chain, keys); err != nil {
				return err
			}
		}
		out := make([]ProvenRecord, len(page))
		for i, r := range page {
			out[i].Record = r
			if out[i].Proof, err = p.prove(ctx, r.Sequence); err != nil {
				return err
			}
		}
		if err := give(out); err != nil || len(page) < proofPage {
			return err
		}
		from = page[len(page)-1].Sequence + 1
	}
}

// selected returns records of a chain, from a number on.
func (s *SQLSink) selected(ctx context.Context, q Query, chain string, from int64) (out []Record, err error) {
	place := "chain = $ AND chain <> '' AND sequence >= $"
	args := []any{chain, from}
	if q.Filter.sql != "" {
		place, args = place+" AND ("+q.Filter.sql+")", append(args, q.Filter.args...)
	}
	q.Filter, q.Before, q.Limit = Filter{sql: place, args: args}, Position{}, proofPage
	statement, values := selectStatement(q)
	statement = strings.Replace(statement, "ORDER BY time_us DESC, id DESC", "ORDER BY sequence", 1)
	statement = strings.Replace(statement, "ORDER BY time_us ASC, id ASC", "ORDER BY sequence", 1)
	rows, err := s.read.QueryContext(ctx, statement, values...)
	if err != nil {
		return nil, fmt.Errorf("audit: list: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("audit: list: %w", err)
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// prover makes proofs of one chain's records, which are asked for in their order.
type prover struct {
	sink  *SQLSink
	chain string
	marks []mark // by size, one of each
	at    int    // the mark that leaves leads to
	tree  *auditproof.Leaves
}

type mark struct {
	auditproof.Checkpoint
	text string
}

func (s *SQLSink) prover(ctx context.Context, chain string, keys *Keys) (*prover, error) {
	texts, err := s.Checkpoints(ctx, chain)
	if err != nil {
		return nil, err
	}
	p := &prover{sink: s, chain: chain, at: -1}
	for _, text := range texts {
		c, err := keys.Open(text)
		if err != nil {
			return nil, unproven(chain)
		}
		p.marks = append(p.marks, mark{c, text})
	}
	slices.SortStableFunc(p.marks, func(a, b mark) int { return cmp.Compare(a.Tree.Size, b.Tree.Size) })
	p.marks = slices.CompactFunc(p.marks, func(a, b mark) bool { return a.Tree.Size == b.Tree.Size })
	return p, nil
}

func unproven(chain string) error {
	return apierr.New(apierr.FailedPrecondition, "chain %s does not verify, and nothing in it can be proven: verify the trail", chain)
}

// prove returns the proof of a record; empty when no checkpoint has it.
func (p *prover) prove(ctx context.Context, index int64) (string, error) {
	at, _ := slices.BinarySearchFunc(p.marks, index+1, func(m mark, size int64) int { return cmp.Compare(m.Tree.Size, size) })
	if at == len(p.marks) {
		return "", nil
	}
	to := p.marks[at]
	if at != p.at {
		var begin auditproof.Tree
		if at > 0 {
			begin = p.marks[at-1].Tree
		}
		var err error
		if p.tree, err = p.sink.leaves(ctx, p.chain, begin, to.Tree.Size); err != nil {
			return "", err
		}
		if p.tree.Root() != to.Tree.Root() {
			return "", unproven(p.chain)
		}
		p.at = at
	}
	hashes, err := p.tree.Inclusion(index)
	if err != nil {
		return "", err
	}
	return auditproof.Inclusion{Index: index, Hashes: hashes, Checkpoint: to.text}.Text(), nil
}

// leaves returns the tree of a chain when it had size records, from a smaller one on.
func (s *SQLSink) leaves(ctx context.Context, chain string, begin auditproof.Tree, size int64) (*auditproof.Leaves, error) {
	if size-begin.Size > maxProofLeaves {
		return nil, apierr.New(apierr.FailedPrecondition, "there are more than %d records between two checkpoints: name sizes that are closer together", maxProofLeaves)
	}
	out := auditproof.NewLeaves(begin)
	rows, err := s.read.QueryContext(ctx, `SELECT sequence, hash FROM edge_audit WHERE chain = $1 AND chain <> '' AND sequence >= $2 AND sequence < $3
		ORDER BY sequence`, chain, begin.Size, size)
	if err != nil {
		return nil, fmt.Errorf("audit: read chain %s: %w", chain, err)
	}
	defer rows.Close()
	for rows.Next() {
		var sequence int64
		var hash string
		if err := rows.Scan(&sequence, &hash); err != nil {
			return nil, fmt.Errorf("audit: read chain %s: %w", chain, err)
		}
		if sequence != out.Size() {
			return nil, unproven(chain)
		}
		out.Add(readHash(hash))
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("audit: read chain %s: %w", chain, err)
	}
	if out.Size() != size {
		return nil, unproven(chain)
	}
	return out, nil
}

// Consistency proves that a chain when it had to records begins with what it was when
// it had from.
func (s *SQLSink) Consistency(ctx context.Context, chain string, from, to int64, keys *Keys) (out []auditproof.Hash, err error) {
	missing := func() error {
		return apierr.New(apierr.NotFound, "this chain is not known, never had as many records, or retention has deleted those before")
	}
	if from > to {
		return nil, apierr.Invalid("to_size", "to_size: must not be less than from_size")
	}
	err = s.Snapshot(ctx, func(ctx context.Context, s *SQLSink) error {
		p, err := s.prover(ctx, chain, keys)
		if err != nil {
			return err
		}
		if len(p.marks) == 0 || p.marks[len(p.marks)-1].Tree.Size < to {
			return missing()
		}
		var begin auditproof.Tree
		for _, m := range p.marks {
			if m.Tree.Size <= from {
				begin = m.Tree
			}
			if m.Pruned && m.Tree.Size > from {
				return missing()
			}
		}
		leaves, err := s.leaves(ctx, chain, begin, to)
		if err != nil {
			return err
		}
		out, err = leaves.Consistency(from)
		return err
	})
	return out, err
}
