package openai

import (
	"context"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/services/edge/internal/audit"
)

// renewTime bounds what is made anew while the old is given.
const renewTime = 10 * time.Minute

// renew has a stale answer made anew, by one of all who are given it, here and at the
// edges that share answers. It is billed to the one whose request began it, as any
// answer of theirs, and what their budget refuses is not made; but it is not their
// request: its record, header and Idempotency-Key say nothing of it.
func (s *Server) renew(ctx context.Context, c call, streamed bool) {
	renewal, ok := s.Answers.Cache.Renew(c.plan.Key)
	if !ok {
		return
	}
	p := *c.plan
	p.rests, p.renews, p.similar, c.plan = new(rests), true, nil, &p
	c.body = proto.Clone(c.body) // the request's own is its handler's, who goes on
	ctx, cancel := context.WithTimeout(audit.NewContext(context.WithoutCancel(ctx), nil), renewTime)
	go func() {
		defer cancel()
		defer renewal.Done()
		if renewal.Mine(ctx) {
			s.makeAnew(ctx, c, streamed)
		}
	}()
}

// makeAnew returns when the answer is there, or cannot be.
func (s *Server) makeAnew(ctx context.Context, c call, streamed bool) {
	r := s.Answers.Cache.Join(&c.plan.Ask, streamed, c.plan.hurry(streamed))
	defer r.Leave()
	if r.Leads && s.begin(ctx, c, r, streamed, func(metadata.MD) error { return nil }) != nil {
		return
	}
	for {
		if piece, err := r.Next(ctx); err != nil || piece.Last {
			return
		}
	}
}
