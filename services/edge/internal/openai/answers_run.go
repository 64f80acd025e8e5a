package openai

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/inproc"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/respcache"
	"github.com/poterne/poterne/services/edge/internal/sse"
)

// take gives each chunk of an answer, in order; streamed says in which form.
type take func(by *inferencev1.ServedBy, chunk []byte, streamed bool) error

// invokePlanned is invoke for a request that the cache may answer.
func (s *Server) invokePlanned(ctx context.Context, c call, answer proto.Message) (*inferencev1.InvokeResponse, error) {
	for {
		var chunks [][]byte
		out := new(inferencev1.InvokeResponse)
		form := false
		usage, err := s.planned(ctx, c, false, unaryHeader(ctx), func(by *inferencev1.ServedBy, chunk []byte, streamed bool) error {
			out.ServedBy, form = by, streamed
			chunks = append(chunks, chunk)
			return nil
		})
		if err != nil {
			return nil, err
		}
		whole, exact := chunks, true
		if form {
			whole, exact = s.assemble(c, chunks)
		}
		if !exact || len(whole) != 1 {
			// Somebody's stream that cannot be put together: this one is made anew.
			c.plan.Wish.NoCache = true
			continue
		}
		if err := s.Codec.Unmarshal(whole[0], answer); err != nil {
			return nil, engineFailed(fmt.Errorf("worker %s: %w", out.GetServedBy().GetWorkerId(), err))
		}
		out.Usage = usage
		return out, nil
	}
}

// streamPlanned is stream for a request that the cache may answer.
func (s *Server) streamPlanned(ctx context.Context, c call, setHeader func(metadata.MD) error, pass send) (*commonv1.TokenUsage, error) {
	return s.planned(ctx, c, true, setHeader, func(by *inferencev1.ServedBy, chunk []byte, _ bool) error { return pass(by, chunk) })
}

// planned answers from what is kept, or with what is made for this caller and
// whoever asks the same meanwhile.
func (s *Server) planned(ctx context.Context, c call, streamed bool, setHeader func(metadata.MD) error, pass take) (*commonv1.TokenUsage, error) {
	p, cache, start := c.plan, s.Answers.Cache, s.Clock.Now()
	e, state := cache.Find(ctx, &p.Ask)
	if state == respcache.Stale && p.pack != nil {
		e = nil // the context builder works on the request, which is in use meanwhile
	}
	var similarity float64
	if e == nil {
		e, similarity = s.findSimilar(ctx, p, setHeader)
		if e != nil {
			state = respcache.HitSemantic
		}
	}
	if e != nil {
		convert := func(chunks [][]byte) ([][]byte, bool) {
			if streamed {
				return s.split(c, chunks)
			}
			return s.assemble(c, chunks)
		}
		if chunks, exact := e.Form(streamed, convert); exact && (!p.alone || e.Streamed == streamed) {
			if state == respcache.Stale {
				s.renew(ctx, c, streamed)
			}
			s.explainHit(ctx, p, state, e, similarity, start)
			return e.Usage, s.replay(ctx, p, e, state, similarity, chunks, streamed, setHeader, pass)
		}
	}
	s.explainMiss(ctx, p, start)
	if p.Wish.OnlyIfCached {
		cache.Count(ctx, p.tenant, respcache.Miss, "", 0, 0)
		return nil, errNotCached()
	}
	p.spent, _ = audit.From(ctx).Cost()
	seen := false
	if c.routed != nil {
		if open := s.openModel(c); open != nil {
			return s.fallen(ctx, c, false, streamed, open, setHeader, pass)
		}
		header := setHeader
		setHeader = func(md metadata.MD) error { seen = seen || md.Get(HeaderModel) != nil; return header(md) }
	}
	for {
		r := cache.Join(&p.Ask, streamed, p.hurry(streamed))
		if r.Leads {
			if err := s.begin(ctx, c, r, streamed, setHeader); err != nil {
				return nil, err
			}
		}
		usage, again, err := s.follow(ctx, c, r, setHeader, pass)
		r.Leave()
		if err != nil && r.Leads {
			s.settled(r)
		}
		if again {
			continue
		}
		if err != nil && c.routed != nil && !seen {
			return s.fallen(ctx, c, r.Leads, streamed, err, setHeader, pass)
		}
		return usage, err
	}
}

// settleTime bounds the wait for work that is being stopped.
const settleTime = time.Second

// settled waits until work that r's caller began, and that ends with their leaving, has
// ended and is billed: what it came to is of their request's record.
func (s *Server) settled(r *respcache.Reader) {
	stopped := r.Stopped()
	if stopped == nil {
		return // others wait for it: it goes on, and is billed to who began it when it ends
	}
	timer := s.Clock.NewTimer(settleTime)
	defer timer.Stop()
	select {
	case <-stopped:
	case <-timer.C():
	}
}

// hurry sets apart those that wait for workers in different ways.
func (p *plan) hurry(streamed bool) string {
	form := ""
	if p.alone {
		form = strconv.FormatBool(streamed)
	}
	wait := "-"
	if p.hints.Wait != nil {
		wait = p.hints.Wait.AsDuration().String()
	}
	return p.hints.Priority.String() + " " + wait + " " + form
}

// replay gives an answer that is kept.
func (s *Server) replay(ctx context.Context, p *plan, e *respcache.Entry, state respcache.State, similarity float64, chunks [][]byte, streamed bool, setHeader func(metadata.MD) error, pass take) error {
	md := givenAgain(s.Clock.Now(), state, e)
	p.replayed, p.rests.on = true, e.Annotations
	if state == respcache.HitSemantic {
		md.Set(HeaderSimilarity, strconv.FormatFloat(similarity, 'f', 4, 64))
	}
	s.note(ctx, p, state)
	s.Answers.Cache.Count(ctx, p.tenant, state, "", e.Usage.GetPromptTokens(), e.Usage.GetCompletionTokens())
	s.saved(ctx, metering.Work{Kind: metering.Generate, By: e.By, Tokens: e.Usage}, true)
	if err := served(ctx, setHeader, e.By, md); err != nil {
		return err
	}
	direct := inproc.DirectFrom(ctx)
	direct.Hold()
	for _, chunk := range chunks {
		if err := pass(e.By, chunk, streamed); err != nil {
			return err
		}
	}
	return direct.Release()
}

// givenAgain is what is said of what is given again.
func givenAgain(now time.Time, state respcache.State, entries ...*respcache.Entry) metadata.MD {
	age, fresh := respcache.Lifetime(now, entries...)
	return metadata.Pairs(HeaderCache, string(state), "age", age, "cache-control", sse.Lifetime+fresh)
}

// note tells the audit trail what the cache did, and on what the answer rests.
func (s *Server) note(ctx context.Context, p *plan, state respcache.State) {
	record := audit.From(ctx)
	record.SetCache(string(state))
	if p.retrieval != nil {
		record.SetDocuments(cited(p.retrieval.GetCollection(), p.rests.on))
	}
}

// begin has the answer made. What concerns the one who leads alone is done here: a
// refusal is theirs, and whoever waits tries again.
func (s *Server) begin(ctx context.Context, c call, r *respcache.Reader, streamed bool, setHeader func(metadata.MD) error) error {
	p := c.plan
	if p.pack != nil {
		generation, degraded, err := p.pack(ctx)
		if err != nil {
			r.Abandon()
			return err
		}
		p.degraded = degraded || generation != p.generation
		p.spent, _ = audit.From(ctx).Cost() // what was found for it too
		// What was gathered before has no passages in it.
		if err := s.gather(ctx, c.body, c.prompt); err != nil {
			r.Abandon()
			return err
		}
	}
	if c.routed != nil {
		s.mirror(ctx, c) // of what is answered by what is kept no model makes anything
	}
	req, err := s.request(ctx, c)
	if err != nil {
		r.Abandon()
		return err
	}
	demand := s.demand(c, req)
	demand.Beside, demand.Optional = p.renews, p.renews
	hold, err := s.Meters.Begin(ctx, demand, setHeader)
	if err != nil {
		r.Abandon()
		return err
	}
	rest, ask := p.rests.on, p.Ask
	s.Answers.Cache.Start(ctx, r, func(ctx context.Context, f *respcache.Flight) (err error) {
		defer func() { hold.End(ctx, err) }()
		f.Rest(rest)
		if c.routed != nil {
			return s.flyRouted(ctx, c, req, hold, f, streamed)
		}
		if streamed {
			return s.fly(ctx, req, hold, f)
		}
		return s.flyWhole(ctx, req, hold, f)
	}, func(e *respcache.Entry) { s.keep(context.WithoutCancel(ctx), c, &ask, e) })
	return nil
}

func (s *Server) flyWhole(ctx context.Context, req *inferencev1.InvokeRequest, hold metering.Hold, f *respcache.Flight) error {
	for attempt := 1; ; attempt++ {
		resp, err := s.Inference.Invoke(ctx, req)
		if err == nil {
			explainWork(ctx, resp.GetServedBy())
			hold.Note(metering.Use{By: resp.GetServedBy(), Tokens: resp.GetUsage()})
			f.Whole(resp.GetServedBy(), resp.GetBody(), resp.GetUsage())
			return nil
		}
		if !s.again.May(ctx, attempt, err) {
			return err
		}
	}
}

func (s *Server) fly(ctx context.Context, req *inferencev1.InvokeRequest, hold metering.Hold, f *respcache.Flight) error {
	for attempt := 1; ; attempt++ {
		began, err := s.flyOnce(ctx, req, hold, f, nil)
		if err == nil || began || !s.again.May(ctx, attempt, err) {
			return err
		}
	}
}

// flyOnce reports whether anybody may have seen some of the answer. first, which may be
// nil, is called before anybody can.
func (s *Server) flyOnce(ctx context.Context, req *inferencev1.InvokeRequest, hold metering.Hold, f *respcache.Flight, first func() error) (began bool, _ error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := s.Inference.InvokeStream(ctx, req)
	if err != nil {
		return false, err
	}
	var by *inferencev1.ServedBy
	for {
		event, err := events.Recv()
		if errors.Is(err, io.EOF) {
			return began, engineFailed(errors.New("the stream ended without its end"))
		}
		if err != nil {
			return began, err
		}
		switch e := event.GetEvent().(type) {
		case *inferencev1.InvokeStreamResponse_ServedBy:
			by = e.ServedBy
			f.Served(by)
		case *inferencev1.InvokeStreamResponse_Chunk:
			if !began && first != nil {
				if err := first(); err != nil {
					return false, err
				}
			}
			if !began {
				explainWork(ctx, by)
			}
			began = true
			if u := event.GetUsage(); u != nil {
				hold.Note(metering.Use{By: by, Tokens: u})
			}
			if err := f.Chunk(ctx, e.Chunk, event.GetUsage()); err != nil {
				return began, err
			}
		case *inferencev1.InvokeStreamResponse_Finish:
			if !began && first != nil {
				if err := first(); err != nil {
					return false, err
				}
			}
			if u := e.Finish.GetUsage(); u != nil {
				hold.Note(metering.Use{By: by, Tokens: u})
			}
			if !began { // an answer without a chunk was still served by somebody
				explainWork(ctx, by)
			}
			f.Used(e.Finish.GetUsage())
			return began, nil
		}
	}
}

// follow gives an answer in the making as it comes. again says that it is to be
// asked for once more: the one who led is gone, and nobody has seen any of it.
func (s *Server) follow(ctx context.Context, c call, r *respcache.Reader, setHeader func(metadata.MD) error, pass take) (_ *commonv1.TokenUsage, again bool, _ error) {
	p, began, direct := c.plan, false, inproc.DirectFrom(ctx)
	state := respcache.Hit
	if r.Leads {
		state = respcache.Miss
	}
	for {
		piece, err := r.Next(ctx)
		if err != nil {
			return nil, !r.Leads && !began && ctx.Err() == nil && leadersOwn(err), c.failed(err)
		}
		if r.Leads && piece.Usage != nil {
			audit.From(ctx).SetTokens(piece.Usage.GetPromptTokens(), piece.Usage.GetCompletionTokens())
		}
		if !began {
			began, p.replayed, p.rests.on = true, !r.Leads, piece.Annotations
			s.note(ctx, p, state)
			names := namesOf(piece.By)
			if !r.Leads { // the flight of one's own has noted it
				explainShared(ctx, p)
				explainServing(ctx, names, piece.By, metadata.Pairs(HeaderCache, string(state)))
			}
			if err := tell(ctx, setHeader, names, piece.By, metadata.Pairs(HeaderCache, string(state))); err != nil {
				return nil, false, err
			}
		}
		if piece.Last {
			if r.Leads {
				s.Answers.Cache.Count(ctx, p.tenant, state, "", 0, 0)
			} else {
				s.Answers.Cache.Count(ctx, p.tenant, state, "", piece.Usage.GetPromptTokens(), piece.Usage.GetCompletionTokens())
				s.saved(ctx, metering.Work{Kind: metering.Generate, By: piece.By, Tokens: piece.Usage}, true)
			}
			return piece.Usage, false, nil
		}
		more := r.Pending()
		if more {
			direct.Hold()
		}
		err = pass(piece.By, piece.Chunk, piece.Streamed)
		if err == nil && !more {
			err = direct.Release()
		}
		if err != nil {
			return nil, false, err
		}
	}
}

// leadersOwn reports whether an error says nothing about the answer.
func leadersOwn(err error) bool {
	reason := apierr.ReasonOf(err)
	return errors.Is(err, respcache.ErrAbandoned) || reason == apierr.Cancelled || reason == apierr.DeadlineExceeded
}
