package search_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search"
)

// harness is a search service in this process, called through its whole chain
// of interceptors, with a fake inference service.
type harness struct {
	t         testing.TB
	dir       string
	cfg       search.Config
	inference *fakeInference
	client    searchv1.SearchServiceClient
	service   *search.Service
	telemetry *telemetry.Telemetry // of the last start
	stop      func()
}

func newHarness(tb testing.TB, change ...func(*search.Config)) *harness {
	tb.Helper()
	h := &harness{t: tb, dir: tb.TempDir(), inference: &fakeInference{digest: "sha256:" + strings.Repeat("1", 64)}}
	h.cfg = *search.DefaultConfig()
	h.cfg.Store.DSN = config.SecretURL("sqlite://" + filepath.Join(h.dir, "truth.db"))
	h.cfg.Index.Dir = filepath.Join(h.dir, "index")
	for _, f := range change {
		f(&h.cfg)
	}
	if err := h.cfg.Complete(); err != nil {
		tb.Fatal(err)
	}
	h.start()
	tb.Cleanup(func() { h.stop() })
	return h
}

// start starts the service on what is in the harness's directory.
func (h *harness) start() {
	h.t.Helper()
	h.startWith(func(r grpc.ServiceRegistrar) { inferencev1.RegisterInferenceServiceServer(r, h.inference) })
}

// startWith is start with an inference service of the caller's.
func (h *harness) startWith(inference func(grpc.ServiceRegistrar)) {
	h.t.Helper()
	tel := telemetry.Discard()
	toInference := inproc.New(grpcserver.Chain{grpcserver.Errors(), identity.Server(identity.Plain(), nil)}, inference)
	s, err := search.New(h.t.Context(), h.cfg, search.WithTelemetry(tel), search.WithInferenceConn(toInference), search.WithClock(clock.Real()))
	if err != nil {
		h.t.Fatal(err)
	}
	h.service, h.telemetry = s, tel
	comps := s.Components()
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	ready := make(chan struct{}, 1)
	s.Readiness().Subscribe(func(now bool) {
		if now {
			ready <- struct{}{}
		}
	})
	ended := make(chan error, 1)
	go func() { ended <- lifecycle.Run(ctx, lifecycle.Options{}, comps...) }()
	h.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			h.t.Errorf("the service ended badly: %v", err)
		}
		h.stop = func() {}
	}
	<-ready
	conn := grpcclient.Intercept(search.ServiceName, inproc.New(s.Interceptors(), s.RegisterGRPC), clientConfig(), tel,
		grpcclient.WithInterceptors(identity.UnaryClient(identity.Plain()), identity.StreamClient(identity.Plain())))
	h.client = searchv1.NewSearchServiceClient(conn)
}

func clientConfig() grpcclient.Config {
	cfg := grpcclient.DefaultConfig()
	cfg.Breaker.Enabled = false
	cfg.Timeout = time.Minute
	return cfg
}

// as is a call on behalf of somebody of tenant acme.
func (h *harness) as(subject string, principals ...string) context.Context {
	return h.of("acme", subject, principals...)
}

func (h *harness) of(tenant, subject string, principals ...string) context.Context {
	return identity.NewContext(h.t.Context(), identity.Caller{
		Tenant: tenant, Subject: subject, Principals: append([]string{"user:" + subject}, principals...),
	})
}

func (h *harness) create(ctx context.Context, id string) {
	h.t.Helper()
	if _, err := h.client.CreateCollection(ctx, &searchv1.CreateCollectionRequest{Id: id}); err != nil {
		h.t.Fatal(err)
	}
}

// put writes documents that must all be kept.
func (h *harness) put(ctx context.Context, collection string, docs ...*searchv1.Document) *searchv1.BatchUpsertDocumentsResponse {
	h.t.Helper()
	resp, err := h.client.BatchUpsertDocuments(ctx, &searchv1.BatchUpsertDocumentsRequest{Collection: collection, Documents: docs})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, r := range resp.GetResults() {
		if r.GetError() != nil {
			h.t.Fatalf("document %q: %v", r.GetId(), r.GetError())
		}
	}
	return resp
}

func (h *harness) search(ctx context.Context, req *searchv1.SearchRequest) *searchv1.SearchResponse {
	h.t.Helper()
	resp, err := h.client.Search(ctx, req)
	if err != nil {
		h.t.Fatalf("search %v: %v", req, err)
	}
	return resp
}

func (h *harness) wantReason(err error, want apierr.Reason, field string) {
	h.t.Helper()
	e := apierr.From(err)
	if err == nil || e.Reason != want || field != "" && e.Field != field {
		h.t.Errorf("got %v, want %s on %q", err, want, field)
	}
}

func doc(id, text string) *searchv1.Document { return &searchv1.Document{Id: id, Text: text} }

func withACL(d *searchv1.Document, principals ...string) *searchv1.Document {
	d.Acl = &searchv1.AccessList{Principals: principals}
	return d
}

func withMetadata(tb testing.TB, d *searchv1.Document, m map[string]any) *searchv1.Document {
	tb.Helper()
	var err error
	if d.Metadata, err = structpb.NewStruct(m); err != nil {
		tb.Fatal(err)
	}
	return d
}

func chunkIDs(resp *searchv1.SearchResponse) string {
	var out []string
	for _, h := range resp.GetHits() {
		out = append(out, h.GetChunkId())
	}
	return strings.Join(out, " ")
}
