// Package resolver gives gRPC the addresses that a discovery source knows:
// poterne:///inference are the instances of the service inference. Start reading
// at New.
package resolver

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"google.golang.org/grpc/resolver"

	"github.com/poterne/poterne/pkg/discovery"
)

// Scheme is the scheme of targets.
const Scheme = "poterne"

// Target returns the gRPC target of a service.
func Target(service string) string { return Scheme + ":///" + service }

// New returns a resolver for grpcclient.WithResolvers over source.
func New(source discovery.Source, log *slog.Logger) resolver.Builder {
	return &builder{source: source, log: log}
}

type builder struct {
	source discovery.Source
	log    *slog.Logger
}

func (b *builder) Scheme() string { return Scheme }

func (b *builder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	service := target.Endpoint()
	if service == "" || strings.Contains(service, "/") {
		return nil, fmt.Errorf("resolver: %q must be written %s:///service", target.String(), Scheme)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{cc: cc, log: b.log, service: service, cancel: cancel, done: make(chan struct{})}
	go w.run(b.source.Watch(ctx, service))
	return w, nil
}

type watcher struct {
	cc      resolver.ClientConn
	log     *slog.Logger
	service string
	cancel  context.CancelFunc
	done    chan struct{}
}

func (w *watcher) run(sets <-chan []discovery.Instance) {
	defer close(w.done)
	ctx := context.Background()
	for set := range sets {
		w.log.LogAttrs(ctx, slog.LevelDebug, "instances", slog.String("backend", w.service), slog.Int("count", len(set)))
		if len(set) == 0 {
			w.cc.ReportError(fmt.Errorf("no instance of %s is known", w.service))
		}
		// An empty set closes the connections to instances that are gone.
		if err := w.cc.UpdateState(resolver.State{Addresses: addresses(set)}); err != nil && len(set) > 0 {
			w.log.LogAttrs(ctx, slog.LevelWarn, "instances not taken", slog.String("backend", w.service), slog.Any("error", err))
		}
	}
}

// ResolveNow does nothing: the source tells of every change by itself.
func (w *watcher) ResolveNow(resolver.ResolveNowOptions) {}

// Close ends the watch and waits until gRPC is told nothing more.
func (w *watcher) Close() {
	w.cancel()
	<-w.done
}

func addresses(set []discovery.Instance) []resolver.Address {
	out := make([]resolver.Address, 0, len(set))
	for _, i := range set {
		out = append(out, resolver.Address{Addr: i.Addr})
	}
	return out
}
