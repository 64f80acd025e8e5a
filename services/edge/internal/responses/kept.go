package responses

import (
	"context"
	"log/slog"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// keepTimeout bounds the keeping of a response whose caller waits for it.
const keepTimeout = 5 * time.Second

// keep keeps a response. One that cannot be kept says so, and is answered.
func (s *Server) keep(ctx context.Context, a ask, r *edgev1.Response) {
	if !a.store {
		return
	}
	if err := s.put(ctx, a, r); err != nil {
		r.Store = false
		s.Log.WarnContext(ctx, "a response could not be kept", telemetry.Err(err))
	}
}

func (s *Server) put(ctx context.Context, a ask, r *edgev1.Response) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTimeout)
	defer cancel()
	o, key, err := s.read(ctx, r.GetId(), "id")
	if err != nil {
		return err
	}
	s.redact(ctx, o.Tenant, a, r)
	input, err := s.Codec.Marshal(&edgev1.ResponseItemList{Items: a.items})
	if err != nil {
		return err
	}
	response, err := s.Codec.Marshal(r)
	if err != nil {
		return err
	}
	now := s.Clock.Now()
	return s.Store.Put(ctx, Turn{
		ID: key, Owner: o, Previous: a.previous, Input: string(input), Response: string(response), CreateTime: now, ExpireTime: now.Add(s.Config.TTL),
	}, s.Config.PerSubject)
}

// chain returns a conversation, the first turn first.
func (s *Server) chain(ctx context.Context, id, field string) ([]Turn, error) {
	o, key, err := s.read(ctx, id, field)
	if err != nil {
		return nil, err
	}
	turns, err := s.Store.Chain(ctx, o, key, s.Clock.Now(), s.Config.MaxTurns)
	if err != nil {
		return nil, s.failed(err, id, field)
	}
	return turns, nil
}

// one returns a turn, whatever became of those before it.
func (s *Server) one(ctx context.Context, id string) (Turn, error) {
	o, key, err := s.read(ctx, id, "response_id")
	if err != nil {
		return Turn{}, err
	}
	turns, err := s.Store.Chain(ctx, o, key, s.Clock.Now(), 1)
	if len(turns) == 0 {
		return Turn{}, s.failed(err, id, "response_id")
	}
	return turns[0], nil
}

// history is the items of turns: what was asked, and what was answered.
func (s *Server) history(turns []Turn) ([]*edgev1.ResponseItem, error) {
	var out []*edgev1.ResponseItem
	for _, t := range turns {
		input, err := s.input(t)
		if err != nil {
			return nil, err
		}
		r, err := s.response(t)
		if err != nil {
			return nil, err
		}
		out = append(append(out, input...), r.GetOutput()...)
	}
	return out, nil
}

func (s *Server) input(t Turn) ([]*edgev1.ResponseItem, error) {
	items := new(edgev1.ResponseItemList)
	if err := s.Codec.Unmarshal([]byte(t.Input), items); err != nil {
		return nil, apierr.Wrap(apierr.Internal, err, "what was kept cannot be read")
	}
	return items.GetItems(), nil
}

func (s *Server) response(t Turn) (*edgev1.Response, error) {
	r := new(edgev1.Response)
	if err := s.Codec.Unmarshal([]byte(t.Response), r); err != nil {
		return nil, apierr.Wrap(apierr.Internal, err, "what was kept cannot be read")
	}
	return r, nil
}

// The pace of forgetting.
const (
	purgeInterval = time.Minute
	purgeBatch    = 1000
)

// Component forgets what has expired.
func (s *Server) Component() lifecycle.Component {
	return lifecycle.Component{Name: "edge: responses", Run: func(ctx context.Context) error {
		return lifecycle.Every(ctx, s.Clock, purgeInterval, nil, func(ctx context.Context) error {
			s.purge(ctx)
			return nil
		})
	}}
}

func (s *Server) purge(ctx context.Context) {
	for {
		n, err := s.Store.Purge(ctx, s.Clock.Now(), purgeBatch)
		if err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "expired responses could not be forgotten", telemetry.Err(err), slog.Int("count", n))
		}
		if err != nil || n < purgeBatch {
			return
		}
	}
}
