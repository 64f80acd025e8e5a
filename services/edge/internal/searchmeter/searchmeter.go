// Package searchmeter has the work that models do for searches and for documents
// metered: it stands before the connection to the search service, which asks the models
// and tells in its answers what they did. It decides nothing about prices, budgets or
// limits. Start reading at New.
package searchmeter

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/metering"
)

// Options is what the connection works with.
type Options struct {
	// Meters admit the work; none: everything passes.
	Meters metering.Meters
	// Collections tells which model a collection has.
	Collections *Collections
	// Part, unless it is empty, says that searches are a part of another request, and
	// which: what is metered is told in that one's answer, and not by a search's header.
	Part string
}

type conn struct {
	grpc.ClientConnInterface
	o Options
}

// New returns a connection to the search service by next. A search, a batch of documents
// and each message of an import reserve what models may do for them before they are sent,
// and settle what they did, also where they fail. A service that tells nothing of that uses
// nothing. Of a search that is asked twice at once, each reserves and settles its own: the
// context of the second is from Again.
func New(next grpc.ClientConnInterface, o Options) grpc.ClientConnInterface {
	return &conn{next, o}
}

// Invoke implements grpc.ClientConnInterface.
func (c *conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	demands, err := c.demands(ctx, args)
	if err != nil {
		return err
	}
	if len(demands) == 0 {
		secondAsked(ctx)
		return c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	}
	b, err := c.begin(ctx, demands)
	if err != nil {
		return err
	}
	secondAsked(ctx)
	var trailer metadata.MD
	err = c.ClientConnInterface.Invoke(ctx, method, args, reply, append(slices.Clip(opts), grpc.Trailer(&trailer))...)
	var works []*searchv1.ModelWork
	if told, ok := reply.(teller); ok && err == nil {
		works = told.GetModelWork()
	} else if err != nil {
		works = worksOf(trailer)
	}
	b.end(ctx, works, err)
	if c.o.Part == "" && len(works) > 0 && ctx.Err() == nil {
		audit.From(ctx).SetTokens(tokens(works), 0)
	}
	return err
}

type again struct{}

// Again returns the context of a search that is asked a second time while the first is in
// hand: the answer's header is the first one's, and what is done for it has its own entry.
// asked says that there was room for it.
func Again(ctx context.Context, asked *atomic.Bool) context.Context {
	return context.WithValue(ctx, again{}, asked)
}

// secondOf is what is to be told that a search is asked a second time; nil: it is the first.
func secondOf(ctx context.Context) *atomic.Bool {
	asked, _ := ctx.Value(again{}).(*atomic.Bool)
	return asked
}

// secondAsked notes that a search is asked a second time, if that is so.
func secondAsked(ctx context.Context) {
	if asked := secondOf(ctx); asked != nil {
		asked.Store(true)
	}
}

// teller is an answer that tells what models did.
type teller interface {
	GetModelWork() []*searchv1.ModelWork
}

// bill is what is held for one call.
type bill struct {
	kinds []metering.Kind
	holds []metering.Hold // by kind
}

// begin reserves for every demand, or for none.
func (c *conn) begin(ctx context.Context, demands []metering.Demand) (_ *bill, err error) {
	b := new(bill)
	header := make(metadata.MD)
	for _, d := range demands {
		if secondOf(ctx) != nil {
			d.Part, d.Optional = "", true // the part is the first one's
		}
		hold, err := c.o.Meters.Begin(ctx, d, func(md metadata.MD) error {
			maps.Copy(header, md) // the later one knows of both
			return nil
		})
		if err != nil {
			b.end(ctx, nil, err)
			_ = c.tell(ctx, header) // the refusal says more
			return nil, err
		}
		b.kinds, b.holds = append(b.kinds, d.Kind), append(b.holds, hold)
	}
	if err := c.tell(ctx, header); err != nil {
		b.end(ctx, nil, err)
		return nil, err
	}
	return b, nil
}

// tell puts what the meters say into the header of a search's own answer.
func (c *conn) tell(ctx context.Context, header metadata.MD) error {
	if c.o.Part != "" || len(header) == 0 || secondOf(ctx) != nil {
		return nil
	}
	return grpc.SetHeader(ctx, header)
}

// errNoWork ends a hold of which nothing was used: no model had to work.
var errNoWork = errors.New("no model had to work")

// end settles what was told. What neither an answer nor a failure tells of is given back.
func (b *bill) end(ctx context.Context, works []*searchv1.ModelWork, err error) {
	for i, hold := range b.holds {
		switch use, ok := useOf(works, b.kinds[i]); {
		case ok:
			hold.Note(use)
			hold.End(ctx, err)
		case err != nil:
			hold.End(ctx, err)
		default:
			hold.End(ctx, errNoWork)
		}
	}
}
