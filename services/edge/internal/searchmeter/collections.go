package searchmeter

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

const (
	// knownFor is how long what is known of a collection is taken to hold. It is only for
	// what is reserved: what is settled is what the service tells.
	knownFor = 10 * time.Second
	// maxKnown bounds the collections that are remembered.
	maxKnown = 4096
)

// Getter is what this package asks the search service.
type Getter interface {
	GetCollection(ctx context.Context, in *searchv1.GetCollectionRequest, opts ...grpc.CallOption) (*searchv1.GetCollectionResponse, error)
}

// Collections remembers for a while which models collections are embedded by. It is
// safe for concurrent use.
type Collections struct {
	getter Getter
	clock  clock.Clock

	mu    sync.Mutex
	known map[place]collection
}

// place is a collection of a tenant.
type place struct{ tenant, id string }

// collection is what is known of one.
type collection struct {
	model   string // "": not known
	passage int    // the most tokens of a passage, about
	until   time.Time
}

// NewCollections returns a memory of what g tells.
func NewCollections(g Getter, c clock.Clock) *Collections {
	return &Collections{getter: g, clock: c, known: make(map[place]collection)}
}

// of returns what is known of the caller's collection. Its error is what a search there
// would be told, too.
func (c *Collections) of(ctx context.Context, id string) (collection, error) {
	caller, _ := identity.FromContext(ctx)
	at, now := place{caller.Tenant, id}, c.clock.Now()
	c.mu.Lock()
	known, ok := c.known[at]
	c.mu.Unlock()
	if ok && now.Before(known.until) {
		return known, nil
	}
	resp, err := c.getter.GetCollection(ctx, &searchv1.GetCollectionRequest{Collection: id})
	if err != nil && apierr.ReasonOf(err) != apierr.Unimplemented {
		return collection{}, err
	}
	found := resp.GetCollection()
	known = collection{model: found.GetEmbeddingModel(), passage: passageSize(found.GetChunking()), until: now.Add(knownFor)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.known[at]; !ok && len(c.known) >= maxKnown {
		clear(c.known)
	}
	c.known[at] = known
	return known, nil
}
