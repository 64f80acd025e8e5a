package openai

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/explain"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

// explainServing notes which version answered, and who worked on it. Of an answer that
// is given again that was before, for somebody else perhaps. It is noted before what the
// work came to, by whoever does the work, so that the two are in one order.
func explainServing(ctx context.Context, names names, by *inferencev1.ServedBy, md metadata.MD) {
	var at [10]explain.Attribute
	list := at[:0]
	add := func(name, value string) {
		if value != "" {
			list = append(list, explain.Attribute{Name: name, Value: value})
		}
	}
	add("experiment", by.GetExperiment())
	add("arm", by.GetArm())
	add("variant", by.GetVariant())
	add("variant_reason", reasonName(by.GetVariantReason()))
	if given := md.Get(HeaderCache); len(given) == 0 || given[0] == cacheBypass || given[0] == string(respcache.Miss) {
		add(explain.AttributeWorker, by.GetWorkerId())
		if n := by.GetAttempts(); n > 1 {
			add("workers_tried", strconv.Itoa(int(n)))
		}
		if n := by.GetContinuations(); n > 0 {
			add("continuations", strconv.Itoa(int(n)))
		}
		add("ready_wait_ms", milliseconds(by.GetWaitTime()))
		add("queue_ms", milliseconds(by.GetQueueTime()))
	}
	audit.From(ctx).Decide(explain.Decision{Step: explain.Serving, Outcome: names.works, Attributes: list})
}

// milliseconds writes a time that was told; empty when it was not.
func milliseconds(d *durationpb.Duration) string {
	if d == nil {
		return ""
	}
	return strconv.FormatFloat(float64(d.AsDuration().Microseconds())/1000, 'f', -1, 64)
}

// explainWork is explainServing of what is made now.
func explainWork(ctx context.Context, by *inferencev1.ServedBy) {
	explainServing(ctx, namesOf(by), by, nil)
}

// explainBypass notes why the cache was not asked.
func explainBypass(ctx context.Context, why string) {
	audit.From(ctx).Decide(explain.Decision{Step: explain.Cache, Outcome: cacheBypass, Detail: why})
}

// explainMiss notes that nothing was kept that could be given.
func (s *Server) explainMiss(ctx context.Context, p *plan, start time.Time) {
	audit.From(ctx).Decide(explain.Decision{
		Step: explain.Cache, Outcome: string(respcache.Miss), Attributes: []explain.Attribute{{Name: "scope", Value: p.scopeName()}, p.explainServing()},
		Start: start, Duration: s.Clock.Now().Sub(start),
	})
}

// explainHit notes that an answer was given that was made before.
func (s *Server) explainHit(ctx context.Context, p *plan, state respcache.State, e *respcache.Entry, similarity float64, start time.Time) {
	now := s.Clock.Now()
	at := [4]explain.Attribute{
		{Name: "scope", Value: p.scopeName()}, p.explainServing(), {Name: "age_s", Value: strconv.FormatInt(int64(e.Age(now)/time.Second), 10)},
	}
	list := at[:3]
	if state == respcache.HitSemantic {
		list = append(list, explain.Attribute{Name: "similarity", Value: strconv.FormatFloat(similarity, 'f', 4, 64)})
	}
	audit.From(ctx).Decide(explain.Decision{Step: explain.Cache, Outcome: string(state), Attributes: list, Start: start, Duration: now.Sub(start)})
}

// explainShared notes that the request gets the answer that is being made for another.
func explainShared(ctx context.Context, p *plan) {
	audit.From(ctx).Decide(explain.Decision{
		Step: explain.Cache, Outcome: string(respcache.Hit), Detail: "with the answer that was being made for the same request",
		Attributes: []explain.Attribute{{Name: "scope", Value: p.scopeName()}, p.explainServing()},
	})
}

// explainServing says how it was known what would answer.
func (p *plan) explainServing() explain.Attribute {
	if p.remembered {
		return explain.Attribute{Name: "serving", Value: "remembered"}
	}
	return explain.Attribute{Name: "serving", Value: "asked"}
}

// scopeName says whose answers may be given to whom.
func (p *plan) scopeName() string {
	if p.scope.Subject != "" {
		return "subject"
	}
	return "tenant"
}

// explainVectors notes how many of the inputs had vectors that are kept.
func (s *Server) explainVectors(ctx context.Context, p *plan, known, inputs int, start time.Time) {
	state := respcache.Hit
	if known < inputs {
		state = respcache.Miss
	}
	audit.From(ctx).Decide(explain.Decision{
		Step: explain.Cache, Outcome: string(state), Start: start, Duration: s.Clock.Now().Sub(start),
		Attributes: []explain.Attribute{
			{Name: "scope", Value: p.scopeName()}, p.explainServing(), {Name: "inputs", Value: strconv.Itoa(inputs)}, {Name: "kept", Value: strconv.Itoa(known)},
		},
	})
}
