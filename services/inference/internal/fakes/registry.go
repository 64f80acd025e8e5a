// Package fakes holds a registry and workers for the tests of this module: they
// speak the real contracts over real connections, and do what a test tells
// them. Start reading at Registry and Worker.
package fakes

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/clock"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Registry is a registry in memory that only knows how to be watched. It is
// safe for concurrent use.
type Registry struct {
	registryv1.UnimplementedRegistryServiceServer

	// Heartbeat is the time between heartbeats; 0 sends none.
	Heartbeat time.Duration

	mu      sync.Mutex
	base    int64 // the revision before the first change kept
	changes []*registryv1.WatchResponse
	models  map[string]*registryv1.ModelState
	prompts map[string]*registryv1.PromptState
	changed chan struct{}
	asked   []int64 // the revisions that watchers came with
	history int     // tells the revisions apart from those before Replace
	cut     chan struct{}
	away    bool

	reported []*registryv1.OutcomeBatch
}

// NewRegistry returns a registry without models.
func NewRegistry() *Registry {
	return &Registry{
		models: make(map[string]*registryv1.ModelState), prompts: make(map[string]*registryv1.PromptState), changed: make(chan struct{}), cut: make(chan struct{}),
	}
}

// Put sets the state of a model.
func (r *Registry) Put(m *registryv1.ModelState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.models[m.GetModel().GetName()] = m
	r.commit(&registryv1.WatchResponse{Event: &registryv1.WatchResponse_Changed{Changed: m}})
}

// PutPrompt sets the state of a prompt.
func (r *Registry) PutPrompt(p *registryv1.PromptState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prompts[p.GetPrompt().GetName()] = p
	r.commit(&registryv1.WatchResponse{Event: &registryv1.WatchResponse_PromptChanged{PromptChanged: p}})
}

// Remove removes a model.
func (r *Registry) Remove(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.models, name)
	r.commit(&registryv1.WatchResponse{Event: &registryv1.WatchResponse_Removed{Removed: name}})
}

// commit gives a change the next revision; r.mu is held.
func (r *Registry) commit(c *registryv1.WatchResponse) {
	c.Revision = r.base + int64(len(r.changes)) + 1
	c.Etag = r.etag(c.GetRevision())
	r.changes = append(r.changes, c)
	r.wake()
}

func (r *Registry) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// Replace lets another registry take the place of this one, which knows nothing yet
// and gives the same revisions anew.
func (r *Registry) Replace() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.base, r.changes, r.models = 0, nil, make(map[string]*registryv1.ModelState)
	r.history++
}

// etag tells a revision from that of another history; r.mu is held.
func (r *Registry) etag(revision int64) string { return fmt.Sprint(r.history, "/", revision) }

// Compact forgets all changes: a watcher must have the present revision, or
// start from 0.
func (r *Registry) Compact() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.base += int64(len(r.changes))
	r.changes = nil
}

// Cut ends all watch streams; while away is set, new ones are refused.
func (r *Registry) Cut(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
	close(r.cut)
	r.cut = make(chan struct{})
}

// Revision is that of the last change.
func (r *Registry) Revision() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.base + int64(len(r.changes))
}

// Asked returns the revisions that watchers came with, in order.
func (r *Registry) Asked() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

// Watch implements the contract: a snapshot in two parts from 0, changes from a
// revision that is kept, OUT_OF_RANGE otherwise.
func (r *Registry) Watch(req *registryv1.WatchRequest, stream grpc.ServerStreamingServer[registryv1.WatchResponse]) error {
	r.mu.Lock()
	r.asked = append(r.asked, req.GetFromRevision())
	cut, away := r.cut, r.away
	other := req.GetFromEtag() != "" && req.GetFromEtag() != r.etag(req.GetFromRevision())
	r.mu.Unlock()
	switch {
	case away:
		return status.Error(codes.Unavailable, "away")
	case other:
		return status.Error(codes.OutOfRange, "another history")
	}
	from := req.GetFromRevision()
	if from == 0 {
		var err error
		if from, err = r.sendSnapshot(req, stream); err != nil {
			return err
		}
	}
	var beat <-chan time.Time
	if r.Heartbeat > 0 {
		t := clock.Real().NewTicker(r.Heartbeat)
		defer t.Stop()
		beat = t.C()
	}
	for {
		next, changed, err := r.after(from)
		if err != nil {
			return err
		}
		for _, c := range next {
			if err := stream.Send(c); err != nil {
				return err
			}
			from = c.GetRevision()
		}
		select {
		case <-changed:
		case <-beat:
			r.mu.Lock()
			etag := r.etag(from)
			r.mu.Unlock()
			err := stream.Send(&registryv1.WatchResponse{Revision: from, Etag: etag, Event: &registryv1.WatchResponse_Heartbeat{
				Heartbeat: &registryv1.Heartbeat{},
			}})
			if err != nil {
				return err
			}
		case <-cut:
			return status.Error(codes.Unavailable, "cut")
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}

func (r *Registry) sendSnapshot(req *registryv1.WatchRequest, stream grpc.ServerStreamingServer[registryv1.WatchResponse]) (int64, error) {
	r.mu.Lock()
	revision := r.base + int64(len(r.changes))
	etag := r.etag(revision)
	parts := []*registryv1.SnapshotPart{{First: true}, {Last: true}}
	for _, m := range r.models {
		parts[1].Models = append(parts[1].Models, m)
	}
	if req.GetPrompts() {
		parts[0].WithPrompts, parts[1].WithPrompts = true, true
		for _, p := range r.prompts {
			parts[0].Prompts = append(parts[0].Prompts, p)
		}
	}
	r.mu.Unlock()
	for _, p := range parts {
		msg := &registryv1.WatchResponse{Revision: revision, Etag: etag, Event: &registryv1.WatchResponse_Snapshot{Snapshot: p}}
		if err := stream.Send(msg); err != nil {
			return 0, err
		}
	}
	return revision, nil
}

func (r *Registry) after(from int64) ([]*registryv1.WatchResponse, <-chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if from < r.base || from > r.base+int64(len(r.changes)) {
		return nil, nil, status.Error(codes.OutOfRange, fmt.Sprintf("revision %d is not kept", from))
	}
	return slices.Clone(r.changes[from-r.base:]), r.changed, nil
}
