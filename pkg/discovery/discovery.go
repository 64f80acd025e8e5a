// Package discovery says where the instances of a service are, and lets an
// instance say where it is. Sources: the configuration and this process (here),
// Consul (package consul). gRPC is given addresses by package resolver, so no
// caller knows the source. Start reading at Source.
package discovery

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/lifecycle"
)

// Instance is one running process of a service. It is not changed once given.
type Instance struct {
	// ID is unique within the service.
	ID string
	// Service is the service's name, such as inference.
	Service string
	// Addr is the host:port that others call.
	Addr string
	// Meta is what others may want to know, such as the version.
	Meta map[string]string
}

// Source knows the instances of services. It is safe for concurrent use.
type Source interface {
	// Watch delivers the set of usable instances of a service, ordered by ID:
	// the present set as soon as it is known, though it be empty, then the whole
	// new set after every change. A slow reader misses sets in between, never
	// the newest one. While the source cannot know, nothing is delivered: the
	// last set holds. The channel is closed when ctx ends.
	Watch(ctx context.Context, service string) <-chan []Instance
}

// Registration is an instance that makes itself known.
type Registration struct {
	Instance
	// TTL is how long the instance is taken for usable after its process last
	// said so; 0 takes the registrar's default.
	TTL time.Duration
	// ExpireAfter is how long after that the registration is removed; 0 takes
	// the registrar's default.
	ExpireAfter time.Duration
}

// Registrar makes instances known. It is safe for concurrent use.
type Registrar interface {
	// Register makes the instance known, and keeps it known until ctx ends or
	// Deregister is called, also when the registry loses it. It returns once
	// the first attempt is over: an error means that the registry could not be
	// reached, and that Register goes on trying.
	Register(ctx context.Context, r Registration) error
	// Deregister removes the instance, and stops keeping it known. The ID of an
	// instance that was never registered is no error.
	Deregister(ctx context.Context, service, id string) error
}

// Component registers what registration returns once the components before it
// have started, and deregisters it before they drain: put it last. A registry
// that is away does not stop the process: onError is told, and the registrar
// goes on trying.
func Component(r Registrar, registration func() Registration, onError func(error)) lifecycle.Component {
	var reg Registration
	var end context.CancelFunc
	return lifecycle.Component{
		Name: "registration",
		Start: func(ctx context.Context) error {
			reg = registration()
			if err := reg.Validate(); err != nil {
				return err
			}
			keep, cancel := context.WithCancel(context.WithoutCancel(ctx)) //nolint:gosec // Stop calls it
			end = cancel
			if err := r.Register(keep, reg); err != nil && onError != nil {
				onError(err)
			}
			return nil
		},
		Drain: func(ctx context.Context) error {
			// A registry that is away must not turn a clean end into a failed one;
			// it will find out by itself.
			if err := r.Deregister(ctx, reg.Service, reg.ID); err != nil && onError != nil {
				onError(err)
			}
			return nil
		},
		Stop: func(context.Context) error {
			if end != nil {
				end()
			}
			return nil
		},
	}
}

// Validate returns what is wrong with the registration.
func (r Registration) Validate() error {
	if r.ID == "" || r.Service == "" {
		return fmt.Errorf("discovery: a registration needs an id and a service, got %q and %q", r.ID, r.Service)
	}
	if _, port, err := net.SplitHostPort(r.Addr); err != nil || port == "" || port == "0" {
		return fmt.Errorf("discovery: %s: the address must be host:port, got %q", r.Service, r.Addr)
	}
	return nil
}

// Equal reports whether two sets, both ordered by ID, are the same.
func Equal(a, b []Instance) bool {
	return slices.EqualFunc(a, b, func(x, y Instance) bool {
		return x.ID == y.ID && x.Service == y.Service && x.Addr == y.Addr && maps.Equal(x.Meta, y.Meta)
	})
}

// Sort orders a set by ID, in place, and returns it.
func Sort(set []Instance) []Instance {
	slices.SortFunc(set, func(a, b Instance) int { return strings.Compare(a.ID, b.ID) })
	return set
}

// Deliver puts the newest set in ch, which holds one, in place of one that
// nobody has read. Only one goroutine may deliver to a channel.
func Deliver(ch chan []Instance, set []Instance) {
	select {
	case <-ch:
	default:
	}
	ch <- set
}
