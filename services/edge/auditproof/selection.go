package auditproof

import (
	"fmt"

	"golang.org/x/mod/sumdb/note"
)

// Selection verifies records that each come with an inclusion proof, such as one
// tenant's. That none is left out nobody can tell from it. It is for one goroutine.
type Selection struct {
	keys   note.Verifiers // nil: signatures are not looked at
	kept   map[size]Hash
	seen   map[size]string
	report Report
	// Unproven is how many records had no proof, since no checkpoint had them yet.
	Unproven int64
}

// size names a chain at a number.
type size struct {
	chain string
	n     int64
}

// NewSelection returns one that goes by checkpoints which keys have signed; nil:
// signatures are not looked at.
func NewSelection(keys note.Verifiers) *Selection {
	return &Selection{keys: keys, kept: make(map[size]Hash), seen: make(map[size]string)}
}

// Checkpoint takes a checkpoint that was kept elsewhere.
func (s *Selection) Checkpoint(text string) {
	c, err := ReadCheckpoint(text)
	if err == nil && s.keys != nil {
		c, err = OpenCheckpoint(text, s.keys)
	}
	if err != nil {
		s.find(Finding{Kind: Forged, Chain: c.Chain, From: c.Tree.Size, To: c.Tree.Size, Detail: err.Error()})
		return
	}
	s.agrees(c)
}

func (s *Selection) agrees(c Checkpoint) {
	at := size{c.Chain, c.Tree.Size}
	if root, ok := s.kept[at]; ok && root != c.Tree.Root() {
		s.find(Finding{
			Kind: Forged, Chain: c.Chain, From: 0, To: c.Tree.Size - 1,
			Detail: fmt.Sprintf("there are two different checkpoints of %d records: the chain was forked", c.Tree.Size),
		})
		return
	}
	s.kept[at] = c.Tree.Root()
}

func (s *Selection) find(f Finding) {
	s.report.Found++
	if len(s.report.Findings) < MaxFindings {
		s.report.Findings = append(s.report.Findings, f)
	}
}

// Record takes a record with its proof, which may be empty.
func (s *Selection) Record(r Record, proof string) {
	s.report.Records++
	bad := Finding{Kind: Changed, Chain: r.Chain, From: r.Sequence, To: r.Sequence, ID: r.ID}
	at := size{r.Chain, r.Sequence}
	if id, twice := s.seen[at]; twice {
		bad.Kind, bad.Detail = Inserted, "its number is there twice, with record "+id
		s.find(bad)
		return
	}
	s.seen[at] = r.ID
	if proof == "" {
		s.Unproven++
		if r.Sum() != r.Hash {
			bad.Detail = "what it says does not have its hash"
			s.find(bad)
		}
		return
	}
	p, err := ReadInclusion(proof)
	var c Checkpoint
	if err == nil {
		c, err = p.Verify(&r, s.keys)
	}
	if err != nil {
		bad.Detail = err.Error()
		s.find(bad)
		return
	}
	s.agrees(c)
}

// Report returns what was found.
func (s *Selection) Report() Report { return s.report }
