package auditproof

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// The kinds of a Finding.
const (
	// Changed: what a record says, or its hash, is not what was recorded.
	Changed = "changed"
	// Removed: a record, or a whole chain, is missing.
	Removed = "removed"
	// Inserted: a record is there that nothing recorded.
	Inserted = "inserted"
	// Reordered: a record is at another place than it was.
	Reordered = "reordered"
	// Truncated: the records at a chain's end are missing.
	Truncated = "truncated"
	// Forged: a checkpoint or a registration is not genuine.
	Forged = "forged"
)

// Finding is one thing that is wrong.
type Finding struct {
	Kind  string `json:"kind"`
	Chain string `json:"chain,omitempty"`
	// From and To are the first and the last sequence number that it is about.
	From int64 `json:"from"`
	To   int64 `json:"to"`
	// ID is the record's, where it is known.
	ID     string `json:"id,omitempty"`
	Detail string `json:"detail"`
}

// String is one line.
func (f Finding) String() string {
	place := fmt.Sprintf("%d", f.From)
	if f.To > f.From {
		place = fmt.Sprintf("%d to %d", f.From, f.To)
	}
	id := ""
	if f.ID != "" {
		id = " (id " + f.ID + ")"
	}
	return fmt.Sprintf("%s: chain %s, record %s%s: %s", f.Kind, f.Chain, place, id, f.Detail)
}

// Options says how a Verifier works.
type Options struct {
	// Keys are those whose checkpoints count; nil: signatures are not looked at.
	Keys note.Verifiers
	// Partial says that the records are a selection, so that gaps mean nothing.
	Partial bool
	// Registered says that every chain must have a registration.
	Registered bool
	// Repeats says that a record may come again as it was, as it does in a file whose
	// last batch was written twice.
	Repeats bool
}

// Verifier verifies trails. Registrations, checkpoints and heads come first, then
// the records, those of a chain in the order in which they are kept; chains may be
// mixed. It is for one goroutine.
type Verifier struct {
	opts   Options
	report Report
	chains map[string]*chainState
	serial map[int64]Registration
}

type chainState struct {
	registered  bool
	checkpoints []signed
	known       bool // the beginning is
	broken      bool // the tree cannot be followed
	tree        Tree
	head        Hash
	expect      int64
	recent      map[int64]Hash
	last        Record
	report      ChainReport
	blamed      int64     // up to here something is known to be wrong
	since       time.Time // the first record's behind the last checkpoint
}

// signed is what the chain ought to be at a size.
type signed struct {
	Checkpoint
	plain bool // only the head is known: of a chain that this process writes
}

// NewVerifier returns a verifier.
func NewVerifier(o Options) *Verifier {
	return &Verifier{opts: o, chains: make(map[string]*chainState), serial: make(map[int64]Registration)}
}

func (v *Verifier) chain(name string) *chainState {
	c := v.chains[name]
	if c == nil {
		c = &chainState{report: ChainReport{Chain: name, From: -1}, blamed: -1}
		v.chains[name] = c
	}
	return c
}

// Find adds what was found wrong beside the records.
func (v *Verifier) Find(f Finding) { v.find(f) }

func (v *Verifier) find(f Finding) {
	v.report.Found++
	if len(v.report.Findings) < MaxFindings {
		v.report.Findings = append(v.report.Findings, f)
	}
}

// Registration takes a chain's registration.
func (v *Verifier) Registration(r Registration) {
	if r.Sum() != r.Hash {
		v.find(Finding{Kind: Forged, Chain: r.Chain, Detail: fmt.Sprintf("registration %d does not have its hash", r.Serial)})
	}
	if there, twice := v.serial[r.Serial]; twice {
		if there != r {
			v.find(Finding{Kind: Forged, Chain: r.Chain, Detail: fmt.Sprintf("registration %d is there twice", r.Serial)})
		}
		return
	}
	v.serial[r.Serial] = r
	c := v.chain(r.Chain)
	c.registered = true
	if !c.known {
		c.known, c.head = true, r.Hash
	}
}

// Checkpoint takes a checkpoint's text. One that was pruned says where its chain
// begins, if it is the largest that does.
func (v *Verifier) Checkpoint(text string) {
	cp, err := ReadCheckpoint(text)
	if err == nil && v.opts.Keys != nil {
		cp, err = OpenCheckpoint(text, v.opts.Keys)
	}
	if err != nil {
		v.find(Finding{Kind: Forged, Chain: cp.Chain, From: cp.Tree.Size, To: cp.Tree.Size, Detail: err.Error()})
		return
	}
	c := v.chain(cp.Chain)
	c.checkpoints = append(c.checkpoints, signed{Checkpoint: cp})
	if cp.Tree.Size == 0 && !c.known {
		c.known, c.head = true, cp.Head // of its registration
	}
	if cp.Pruned && cp.Tree.Size > c.tree.Size {
		c.known, c.tree, c.head, c.expect = true, cp.Tree.Clone(), cp.Head, cp.Tree.Size
	}
}

// Head takes what a process that writes a chain knows of it: so many records, of
// which the last has this hash.
func (v *Verifier) Head(chain string, size int64, head Hash) {
	c := v.chain(chain)
	c.checkpoints = append(c.checkpoints, signed{Checkpoint: Checkpoint{Chain: chain, Tree: Tree{Size: size}, Head: head}, plain: true})
}

// Record takes the next record.
func (v *Verifier) Record(r Record) {
	if r.Chain == "" {
		v.unchained(r)
		return
	}
	c := v.chain(r.Chain)
	if c.report.From < 0 {
		v.begin(c, r)
	}
	if r.Sequence < c.expect {
		v.again(c, r)
		return
	}
	v.report.Records++
	gap := r.Sequence > c.expect
	if gap && !v.opts.Partial {
		v.find(Finding{
			Kind: Removed, Chain: r.Chain, From: c.expect, To: r.Sequence - 1,
			Detail: fmt.Sprintf("missing before record %s", r.ID),
		})
		c.broken, c.blamed = true, r.Sequence-1
	}
	c.broken = c.broken || gap
	v.checkRecord(c, r, gap)
	if !c.broken {
		c.tree.Add(r.Hash)
	}
	if c.since.IsZero() {
		c.since = r.Time
	}
	c.head, c.expect, c.last = r.Hash, r.Sequence+1, r
	if v.opts.Repeats {
		c.remember(r)
	}
	v.reach(c)
}

// begin decides where a chain begins.
func (v *Verifier) begin(c *chainState, r Record) {
	slices.SortStableFunc(c.checkpoints, func(a, b signed) int { return cmp.Compare(a.Tree.Size, b.Tree.Size) })
	c.report.From = r.Sequence
	v.reach(c)
	if v.opts.Partial || !c.known {
		// Without its registration a chain is taken as it comes.
		if r.Sequence > c.expect {
			c.broken, c.expect = true, r.Sequence
		}
		if !c.known || c.broken {
			c.head = r.Previous
		}
	}
}

func (v *Verifier) checkRecord(c *chainState, r Record, gap bool) {
	switch sum := r.Sum(); {
	case sum != r.Hash:
		kind, detail := Changed, "what it says does not have its hash"
		if at, ok := movedFrom(r); ok {
			kind, detail = Reordered, fmt.Sprintf("it was recorded as number %d", at)
		}
		v.find(Finding{Kind: kind, Chain: r.Chain, From: r.Sequence, To: r.Sequence, ID: r.ID, Detail: detail})
		c.blamed = r.Sequence
	case !gap && r.Previous != c.head && c.blamed < r.Sequence-1:
		// This one is whole: what came before it is not what it was linked to.
		if c.report.From == r.Sequence {
			v.find(Finding{Kind: Changed, Chain: r.Chain, From: r.Sequence, To: r.Sequence, ID: r.ID, Detail: "it is not linked to where its chain begins"})
		} else {
			v.find(Finding{
				Kind: Changed, Chain: r.Chain, From: r.Sequence - 1, To: r.Sequence - 1, ID: c.last.ID,
				Detail: fmt.Sprintf("record %s is linked to another one", r.ID),
			})
		}
		c.blamed = r.Sequence
	}
}

// movedFrom looks whether a record is whole with another number near its own.
func movedFrom(r Record) (int64, bool) {
	const near = 64
	was := r
	for was.Sequence = max(0, r.Sequence-near); was.Sequence <= r.Sequence+near; was.Sequence++ {
		if was.Sum() == r.Hash {
			return was.Sequence, true
		}
	}
	return 0, false
}

// again judges a record whose number was there before.
func (v *Verifier) again(c *chainState, r Record) {
	if v.opts.Repeats && c.recent[r.Sequence] == r.Hash && r.Sum() == r.Hash {
		return
	}
	v.report.Records++
	kind, detail := Inserted, "its number was there before"
	if r.Sum() == r.Hash && r.Sequence < c.report.From {
		detail = "retention had deleted up to record " + fmt.Sprint(c.report.From-1)
	} else if r.Sum() == r.Hash {
		kind, detail = Reordered, "it comes after those that followed it"
	}
	v.find(Finding{Kind: kind, Chain: r.Chain, From: r.Sequence, To: r.Sequence, ID: r.ID, Detail: detail})
}

// repeats is how far back a record may be that comes again.
const repeats = 1 << 14

func (c *chainState) remember(r Record) {
	if c.recent == nil {
		c.recent = make(map[int64]Hash)
	}
	c.recent[r.Sequence] = r.Hash
	delete(c.recent, r.Sequence-repeats)
}

// reach compares the chain with the checkpoints that are of its size.
func (v *Verifier) reach(c *chainState) {
	for len(c.checkpoints) > 0 && c.checkpoints[0].Tree.Size <= c.expect {
		cp := c.checkpoints[0]
		c.checkpoints = c.checkpoints[1:]
		if cp.Tree.Size < c.expect || c.broken || v.opts.Partial {
			continue // of a size that cannot be seen any more
		}
		right := cp.Head == c.head && (cp.plain || cp.Tree.Root() == c.tree.Root())
		if right {
			if !cp.plain {
				c.report.Checkpoints++
				c.report.Proven = max(c.report.Proven, cp.Tree.Size)
				c.since = time.Time{}
			}
			continue
		}
		if from := max(c.report.Proven, c.report.From, 0); c.blamed < from {
			v.find(Finding{
				Kind: Changed, Chain: cp.Chain, From: from, To: max(from, cp.Tree.Size-1),
				Detail: fmt.Sprintf("these records are not those that were signed when there were %d", cp.Tree.Size),
			})
		}
		c.blamed, c.broken = max(c.blamed, cp.Tree.Size-1), true
	}
}

func (v *Verifier) unchained(r Record) {
	v.report.Unchained++
	first, ok := v.serial[1]
	if ok && (r.Time.After(first.Time) || v.report.Unchained > first.Before) {
		v.find(Finding{Kind: Inserted, ID: r.ID, Detail: "it is in no chain, and not from before the first"})
	}
}

// Finish looks at what is known to be missing, and returns the report.
func (v *Verifier) Finish() Report {
	v.registrations()
	for _, name := range slices.Sorted(maps.Keys(v.chains)) {
		c := v.chains[name]
		slices.SortStableFunc(c.checkpoints, func(a, b signed) int { return cmp.Compare(a.Tree.Size, b.Tree.Size) })
		if c.report.From < 0 {
			c.report.From = c.expect
		}
		v.reach(c)
		c.report.Size = c.expect
		if v.opts.Registered && !c.registered && !v.opts.Partial {
			v.find(Finding{Kind: Forged, Chain: name, Detail: "the chain's registration is missing"})
		}
		if n := len(c.checkpoints); n > 0 && !v.opts.Partial {
			last := c.checkpoints[n-1].Tree.Size
			v.find(Finding{
				Kind: Truncated, Chain: name, From: c.expect, To: last - 1,
				Detail: fmt.Sprintf("missing at the end: there were %d records, and those from %d on may have other numbers now", last, max(c.report.Proven, c.report.From)),
			})
		}
		v.unsigned(c)
		v.report.Chains = append(v.report.Chains, c.report)
	}
	if first, ok := v.serial[1]; ok {
		v.report.Begins = first.Time
	}
	return v.report
}

// registrations looks whether those that are there follow each other.
func (v *Verifier) registrations() {
	serials := slices.Sorted(maps.Keys(v.serial))
	if v.opts.Partial {
		return
	}
	for i, n := range serials {
		r := v.serial[n]
		switch {
		case i == 0 && n == 1 && r.Previous.IsZero():
		case i == 0 && !v.opts.Registered: // a file holds those of one process
		case i == 0 || serials[i-1] != n-1:
			if v.opts.Registered {
				v.find(Finding{Kind: Removed, Chain: r.Chain, Detail: fmt.Sprintf("a whole chain is missing: registration %d is not there", n-1)})
			}
		case v.serial[n-1].Hash != r.Previous:
			v.find(Finding{Kind: Forged, Chain: r.Chain, Detail: fmt.Sprintf("registration %d does not follow the one before it", n)})
		}
	}
}
