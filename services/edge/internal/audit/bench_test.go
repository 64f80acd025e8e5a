package audit

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/services/edge/auditproof"
	"github.com/poterne/poterne/services/edge/internal/explain"
)

// decideLikeAChat notes what a chat's steps decide.
func decideLikeAChat(e *Entry) {
	now := time.Now()
	e.Explain(now, time.Now)
	for i, step := range []explain.Step{
		explain.Identity, explain.Policy, explain.Limits, explain.Cache, explain.Budget, explain.Usage, explain.Budget, explain.Serving,
	} {
		e.Decide(explain.Decision{
			Step: step, Outcome: "allowed", Start: now, Duration: time.Millisecond,
			Attributes: []explain.Attribute{{Name: "remaining", Value: `"default";r=599;t=1`}, {Name: "number", Value: strconv.Itoa(i)}},
		})
	}
}

// What decisions add to a request: noted, hashed, in the journal and in the store.
func BenchmarkRecord(b *testing.B) {
	for _, decided := range []bool{false, true} {
		b.Run("decided="+strconv.FormatBool(decided), func(b *testing.B) {
			p := begin(b, openSQL(b, sqliteDSN(b)), b.TempDir(), "a", nil)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				e := NewEntry(strconv.Itoa(n))
				rec := sample(n)
				rec.ID, rec.Content = e.ID(), auditproof.Hash{}
				if decided {
					decideLikeAChat(e)
					rec.Decisions = e.Conclude(explain.Decision{Step: explain.Answer, Outcome: "answered"})
				}
				if err := p.Append(b.Context(), rec); err != nil {
					b.Fatal(err)
				}
				if n%maxBatch == 0 {
					if err := p.Flush(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// What a record costs the sink, in batches as they come under load.
func BenchmarkWrite(b *testing.B) {
	const batch = 256
	s, chain, made := openSQL(b, sqliteDSN(b)), NewChain(auditproof.Registration{Chain: ids.UUIDv7().New()}), ids.UUIDv7()
	recs, at := make([]Record, batch), time.Now().UTC()
	b.ReportAllocs()
	for n := 0; n < b.N; n += batch {
		b.StopTimer()
		for i := range recs {
			at = at.Add(400 * time.Microsecond)
			recs[i] = Record{
				ID: made.New(), RequestID: made.New(), Time: at, Tenant: "acme", Subject: "ada", KeyID: "0199a1b2c3d4",
				Method: "/poterne.edge.v1.OpenAIService/CreateChatCompletion", Resource: "model/chat", Decision: Allowed,
				Address: "192.0.2.7", Duration: time.Millisecond, ServedBy: "chat@v1", PromptTokens: 12, CompletionTokens: 34,
				Policy: "base@04285e4123964150", Rule: "base/14", Decisions: bytes.Repeat([]byte{1}, 272), // as many as a chat has
			}
			recs[i].Normalise()
			chain.link(&recs[i])
		}
		b.StartTimer()
		if err := s.Write(b.Context(), recs); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		e := NewEntry("r")
		decideLikeAChat(e)
		e.Conclude(explain.Decision{Step: explain.Answer, Outcome: "answered"})
	}
}
