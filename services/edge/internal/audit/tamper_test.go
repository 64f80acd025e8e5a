package audit

import (
	"fmt"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"github.com/poterne/poterne/services/edge/auditproof"
)

// Ten thousand random changes to what the store holds, of every kind: none is missed.
func TestTenThousandTamperings(t *testing.T) {
	sink := openSQL(t, sqliteDSN(t))
	p := begin(t, sink, t.TempDir(), "a", nil)
	for i := range 4 {
		p.add(t, 3*i, 3*i+3)
		p.sign(t)
	}
	var all []Record
	if err := sink.Chained(t.Context(), "a", 0, func(r Record) error { all = append(all, r); return nil }); err != nil {
		t.Fatal(err)
	}
	texts, err := sink.Checkpoints(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	run := func(recs []Record) auditproof.Report {
		v := auditproof.NewVerifier(auditproof.Options{Keys: p.keys.Verifiers(), Registered: true})
		v.Registration(p.reg)
		for _, text := range texts {
			v.Checkpoint(text)
		}
		for _, r := range recs {
			v.Record(r)
		}
		return v.Finish()
	}
	if r := run(all); r.Found != 0 {
		t.Fatalf("%+v", r.Findings)
	}
	rng := mathrand.New(mathrand.NewPCG(1, 2))
	kinds := tamperings()
	for i := range 10_000 {
		name := kinds[i%len(kinds)].name
		recs, named := kinds[i%len(kinds)].do(rng, append([]Record(nil), all...))
		r := run(recs)
		if r.Found == 0 {
			t.Fatalf("%d: %s of record %d is not found", i, name, named)
		}
		if !covers(r.Findings, named) {
			t.Fatalf("%d: %s of record %d: not named by %v", i, name, named, r.Findings)
		}
	}
}

func covers(found []auditproof.Finding, n int64) bool {
	for _, f := range found {
		// With new numbers the end is missing, and what was last signed says from where.
		if f.Kind == auditproof.Truncated {
			f.From -= f.From % 3
		}
		if f.From <= n && n <= f.To {
			return true
		}
	}
	return false
}

type tampering struct {
	name string
	// do returns the records as they are then, and the number of one that must be named.
	do func(rng *mathrand.Rand, recs []Record) ([]Record, int64)
}

func tamperings() []tampering {
	pick := func(rng *mathrand.Rand, recs []Record) int { return rng.IntN(len(recs)) }
	return []tampering{
		{"a change", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := pick(rng, recs)
			spoil(rng, &recs[i])
			return recs, int64(i)
		}},
		{"a change with its hash", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := pick(rng, recs)
			spoil(rng, &recs[i])
			recs[i].Hash = recs[i].Sum()
			return recs, int64(i)
		}},
		{"a change with all hashes after it", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := pick(rng, recs)
			spoil(rng, &recs[i])
			relink(recs, i)
			return recs, int64(i)
		}},
		{"a removal", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := pick(rng, recs)
			return append(recs[:i], recs[i+1:]...), int64(i)
		}},
		{"a removal with new numbers and hashes", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := pick(rng, recs)
			recs = append(recs[:i], recs[i+1:]...)
			relink(recs, i)
			return recs, int64(i)
		}},
		{"an insertion with new numbers and hashes", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := pick(rng, recs)
			one := recs[i]
			one.ID = fmt.Sprintf("extra-%d", rng.Int64())
			recs = append(recs[:i], append([]Record{one}, recs[i:]...)...)
			relink(recs, i)
			return recs, int64(i)
		}},
		{"an insertion", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := pick(rng, recs)
			one := recs[i]
			one.ID = "extra"
			return append(recs[:i+1], append([]Record{one}, recs[i+1:]...)...), int64(i)
		}},
		{"an exchange of numbers", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i, j := pick(rng, recs), pick(rng, recs)
			for i == j {
				j = pick(rng, recs)
			}
			recs[i], recs[j] = recs[j], recs[i]
			recs[i].Sequence, recs[j].Sequence = int64(i), int64(j)
			return recs, int64(i)
		}},
		{"an exchange with hashes", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := rng.IntN(len(recs) - 1)
			recs[i], recs[i+1] = recs[i+1], recs[i]
			relink(recs, i)
			return recs, int64(i)
		}},
		{"an exchange of lines", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := rng.IntN(len(recs) - 1)
			recs[i], recs[i+1] = recs[i+1], recs[i]
			return recs, int64(i)
		}},
		{"a truncation", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := pick(rng, recs)
			return recs[:i], int64(i)
		}},
	}
}

// relink gives the records from i on right numbers and hashes.
func relink(recs []Record, i int) {
	for ; i < len(recs); i++ {
		if i > 0 {
			recs[i].Previous = recs[i-1].Hash
		}
		recs[i].Sequence = int64(i)
		recs[i].Hash = recs[i].Sum()
	}
}

// spoil changes one thing that a record says.
func spoil(rng *mathrand.Rand, r *Record) {
	texts := []*string{
		&r.ID, &r.RequestID, &r.Tenant, &r.Subject, &r.KeyID, &r.Method, &r.Resource, &r.Decision, &r.Reason, &r.Address,
		&r.ServedBy, &r.Experiment, &r.Arm, &r.Policy, &r.Rule, &r.Cache,
	}
	switch n := rng.IntN(len(texts) + 8); n {
	case len(texts):
		r.Time = r.Time.Add(time.Duration(1+rng.IntN(1000)) * time.Microsecond)
	case len(texts) + 1:
		r.Duration += time.Microsecond
	case len(texts) + 2:
		r.PromptTokens++
	case len(texts) + 3:
		r.CompletionTokens--
	case len(texts) + 4:
		r.Review = !r.Review
	case len(texts) + 5:
		r.Findings = append([]string{"x"}, r.Findings...)
	case len(texts) + 6:
		r.Documents = nil
	case len(texts) + 7:
		r.Content[rng.IntN(32)] ^= 1 << rng.IntN(8)
	default:
		*texts[n] += string(rune('a' + rng.IntN(26)))
	}
}
