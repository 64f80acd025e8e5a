// Package searchroute has routes apply to searches: it stands before the connection to
// the search service. It knows one method; everything else passes. Start reading at New.
package searchroute

import (
	"context"
	"errors"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/explain"
	"github.com/poterne/poterne/services/edge/internal/openai"
	"github.com/poterne/poterne/services/edge/internal/route"
	"github.com/poterne/poterne/services/edge/internal/searchmeter"
)

// errRouteTime is the cause for which a route ends a search.
var errRouteTime = errors.New("the route's time for this search is over")

type conn struct {
	grpc.ClientConnInterface
	router *route.Router
}

// New returns a connection to the search service by next, whose searches keep to the
// routes: their time, and their hedge. They are asked again by next, when it does.
func New(next grpc.ClientConnInterface, router *route.Router) grpc.ClientConnInterface {
	return &conn{next, router}
}

// Invoke implements grpc.ClientConnInterface.
func (c *conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if method != searchv1.SearchService_Search_FullMethodName || c.router.Idle() {
		return c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	}
	f := openai.RouteFacts(ctx, route.Search, "")
	t := c.router.Find(&f)
	into, ok := reply.(proto.Message)
	if t == nil || !ok {
		return c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	}
	c.router.Observer.Routed(ctx, t.Name)
	c.router.Budget().Deposit(f.Tenant)
	audit.From(ctx).Decide(explain.Decision{Step: explain.Route, Outcome: "matched", Attributes: []explain.Attribute{
		{Name: "route", Value: t.Name}, {Name: "operation", Value: string(route.Search)},
	}})
	if err := tell(ctx, openai.HeaderRoute, t.Name); err != nil {
		return err
	}
	if d := t.Timeouts.Request; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d, errRouteTime)
		defer cancel()
	}
	err := c.search(ctx, t, f.Tenant, method, args, into, opts)
	if err != nil && errors.Is(context.Cause(ctx), errRouteTime) {
		return apierr.Wrap(apierr.DeadlineExceeded, err, "the route's time for this search is over")
	}
	return err
}

// tell sets a header of the answer, where the request is a search itself: what the
// context builder searches is a part of another one, whose route is told.
func tell(ctx context.Context, name, value string) error {
	if method, _ := grpc.Method(ctx); method != searchv1.SearchService_Search_FullMethodName {
		return nil
	}
	if err := grpc.SetHeader(ctx, metadata.Pairs(name, value)); err != nil {
		return apierr.Wrap(apierr.Internal, err, "the response header cannot be set")
	}
	return nil
}

func (c *conn) search(ctx context.Context, t *route.Route, tenant, method string, args any, into proto.Message, opts []grpc.CallOption) error {
	if t.Hedge.Delay == 0 {
		return c.ClientConnInterface.Invoke(ctx, method, args, into, opts...)
	}
	var second atomic.Bool
	out, won, err := route.Hedged(ctx, c.router.Clock, t.Hedge.Delay, func() bool {
		return c.router.Budget().Withdraw(tenant)
	}, func(ctx context.Context, who int) (proto.Message, error) {
		reply := into.ProtoReflect().New().Interface()
		if who == 1 {
			return reply, c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
		}
		err := c.ClientConnInterface.Invoke(searchmeter.Again(ctx, &second), method, args, reply, opts...)
		if !second.Load() { // there was no room for it
			err = route.ErrNotDone
		}
		return reply, err
	}, func(proto.Message, error) {}) // the connection has billed it
	if second.Load() {
		if err := tell(ctx, openai.HeaderAttempts, "2"); err != nil {
			return err
		}
		outcome := "lost"
		if won == 2 && err == nil {
			outcome = "won"
		}
		c.router.Observer.Attempted(ctx, t.Name, "hedge", outcome)
		audit.From(ctx).Decide(explain.Decision{Step: explain.Attempt, Outcome: "hedged", Detail: "a second one was asked: it " + outcome})
	}
	if err != nil {
		return err
	}
	proto.Merge(into, out)
	return nil
}
