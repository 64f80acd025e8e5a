package serving_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/edge/internal/serving"
)

const (
	model   = inferencev1.ServingBasis_SERVING_BASIS_MODEL
	subject = inferencev1.ServingBasis_SERVING_BASIS_SUBJECT
	request = inferencev1.ServingBasis_SERVING_BASIS_REQUEST
	unsaid  = inferencev1.ServingBasis_SERVING_BASIS_UNSPECIFIED
)

// world is a registry as the edge knows it, and an inference service.
type world struct {
	*serving.Memory

	clock            *clock.Fake
	change, revision int64
	said             *inferencev1.ResolveServingResponse
	err              error
	meanwhile        func()
	asked            int
}

func (w *world) Present() (change, revision int64) { return w.change, w.revision }

func (w *world) ResolveServing(context.Context, *inferencev1.ResolveServingRequest, ...grpc.CallOption) (*inferencev1.ResolveServingResponse, error) {
	w.asked++
	if w.meanwhile != nil {
		w.meanwhile()
	}
	return w.said, w.err
}

func newWorld(t *testing.T, basis inferencev1.ServingBasis) *world {
	t.Helper()
	w := &world{clock: clock.NewFake(time.Unix(1_800_000_000, 0)), change: 1, revision: 7}
	w.said = &inferencev1.ResolveServingResponse{Model: "m", Digest: "sha256:1", Revision: 7, Basis: basis}
	m, err := serving.New(serving.Options{Registry: w, Clock: w.clock, For: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	w.Memory = m
	return w
}

func as(tenant, subject string, roles ...string) context.Context {
	return identity.NewContext(context.Background(), identity.NewCaller(tenant, subject, roles, nil))
}

func ask(name string) *inferencev1.ResolveServingRequest {
	return &inferencev1.ResolveServingRequest{
		Model: name, RoutingKey: "u", SessionId: "s", Chat: true, ExperimentHeaders: map[string]string{"x-a": "1", "x-b": "2"},
		Prompt: &inferencev1.Prompt{Id: "p", Version: "1", Variables: map[string]string{"a": "1", "b": "2"}},
	}
}

// wants asks, and holds whether inference was asked.
func (w *world) wants(t *testing.T, what string, ctx context.Context, req *inferencev1.ResolveServingRequest, asked bool) { //nolint:revive // what first reads better
	t.Helper()
	before := w.asked
	said, remembered, err := w.Resolve(ctx, w, req)
	if err != nil || said.GetDigest() == "" || remembered == asked || (w.asked > before) != asked {
		t.Errorf("%s: %v, remembered %t, %d asked, %v", what, said, remembered, w.asked-before, err)
	}
}

// TestWhomAnAnswerIsFor: an answer is given to requests that differ in nothing that
// inference says it rests on.
func TestWhomAnAnswerIsFor(t *testing.T) {
	t.Parallel()
	type other struct {
		ctx    context.Context
		change func(*inferencev1.ResolveServingRequest)
	}
	same := as("acme", "ana", "reader")
	for what, c := range map[string]struct {
		other
		with map[inferencev1.ServingBasis]bool // asked
	}{
		"the same":           {other{same, nil}, map[inferencev1.ServingBasis]bool{request: true, unsaid: true}},
		"a variable's value": {other{same, func(r *inferencev1.ResolveServingRequest) { r.Prompt.Variables["a"] = "9" }}, map[inferencev1.ServingBasis]bool{request: true, unsaid: true}},
		"another subject":    {other{as("acme", "ben", "reader"), nil}, map[inferencev1.ServingBasis]bool{subject: true, request: true, unsaid: true}},
		"other roles":        {other{as("acme", "ana", "admin"), nil}, map[inferencev1.ServingBasis]bool{subject: true, request: true, unsaid: true}},
		"another key":        {other{same, func(r *inferencev1.ResolveServingRequest) { r.RoutingKey = "v" }}, map[inferencev1.ServingBasis]bool{subject: true, request: true, unsaid: true}},
		"another session":    {other{same, func(r *inferencev1.ResolveServingRequest) { r.SessionId = "" }}, map[inferencev1.ServingBasis]bool{subject: true, request: true, unsaid: true}},
		"moved borders":      {other{same, func(r *inferencev1.ResolveServingRequest) { r.RoutingKey, r.SessionId = "us", "" }}, map[inferencev1.ServingBasis]bool{subject: true, request: true, unsaid: true}},
		"another header":     {other{same, func(r *inferencev1.ResolveServingRequest) { r.ExperimentHeaders["x-b"] = "3" }}, map[inferencev1.ServingBasis]bool{subject: true, request: true, unsaid: true}},
		"one header less":    {other{same, func(r *inferencev1.ResolveServingRequest) { delete(r.ExperimentHeaders, "x-a") }}, map[inferencev1.ServingBasis]bool{subject: true, request: true, unsaid: true}},
		"another tenant":     {other{as("globex", "ana", "reader"), nil}, map[inferencev1.ServingBasis]bool{model: true, subject: true, request: true, unsaid: true}},
		"no caller":          {other{t.Context(), nil}, map[inferencev1.ServingBasis]bool{model: true, subject: true, request: true, unsaid: true}},
		"another model":      {other{same, func(r *inferencev1.ResolveServingRequest) { r.Model = "m@v1" }}, map[inferencev1.ServingBasis]bool{model: true, subject: true, request: true, unsaid: true}},
		"no chat":            {other{same, func(r *inferencev1.ResolveServingRequest) { r.Chat = false }}, map[inferencev1.ServingBasis]bool{model: true, subject: true, request: true, unsaid: true}},
		"no prompt":          {other{same, func(r *inferencev1.ResolveServingRequest) { r.Prompt = nil }}, map[inferencev1.ServingBasis]bool{model: true, subject: true, request: true, unsaid: true}},
		"another prompt":     {other{same, func(r *inferencev1.ResolveServingRequest) { r.Prompt.Id = "q" }}, map[inferencev1.ServingBasis]bool{model: true, subject: true, request: true, unsaid: true}},
		"another version":    {other{same, func(r *inferencev1.ResolveServingRequest) { r.Prompt.Version = "" }}, map[inferencev1.ServingBasis]bool{model: true, subject: true, request: true, unsaid: true}},
		"another variable":   {other{same, func(r *inferencev1.ResolveServingRequest) { r.Prompt.Variables["c"] = "" }}, map[inferencev1.ServingBasis]bool{model: true, subject: true, request: true, unsaid: true}},
	} {
		for _, basis := range []inferencev1.ServingBasis{model, subject, request, unsaid} {
			w := newWorld(t, basis)
			w.wants(t, what, same, ask("m"), true)
			req := ask("m")
			if c.change != nil {
				c.change(req)
			}
			w.wants(t, what+" by "+basis.String(), c.ctx, req, c.with[basis])
		}
	}
}

// TestHowLongAnAnswerCounts: as long as nothing changed, and no longer than is said.
func TestHowLongAnAnswerCounts(t *testing.T) {
	t.Parallel()
	ana, failed := as("acme", "ana"), errors.New("away")
	for what, c := range map[string]struct {
		before, between func(*world)
		asked           bool
	}{
		"nothing happens":                      {nil, nil, false},
		"nearly its time":                      {nil, func(w *world) { w.clock.Advance(time.Second - 1) }, false},
		"its time":                             {nil, func(w *world) { w.clock.Advance(time.Second) }, true},
		"a change":                             {nil, func(w *world) { w.change++ }, true},
		"the registry is lost":                 {nil, func(w *world) { w.change = 0 }, true},
		"the registry was never there":         {func(w *world) { w.change = 0 }, func(w *world) { w.change = 1 }, true},
		"somebody wrote":                       {nil, func(w *world) { w.Written() }, true},
		"somebody wrote long ago":              {func(w *world) { w.Written(); w.clock.Advance(time.Second + 1) }, nil, false},
		"somebody wrote, and its time is over": {nil, func(w *world) { w.Written(); w.clock.Advance(time.Second + 1) }, true},
		"inference is behind":                  {func(w *world) { w.said.Revision = 6 }, nil, true},
		"inference is ahead":                   {func(w *world) { w.said.Revision = 8 }, nil, false},
		"it changes while inference is asked":  {func(w *world) { w.meanwhile = func() { w.change++ } }, nil, true},
		"asking takes long":                    {func(w *world) { w.meanwhile = func() { w.clock.Advance(time.Second) } }, nil, true},
	} {
		w := newWorld(t, model)
		if c.before != nil {
			c.before(w)
		}
		w.wants(t, what+", first", ana, ask("m"), true)
		if c.between != nil {
			c.between(w)
		}
		w.wants(t, what, ana, ask("m"), c.asked)
	}
	w := newWorld(t, model)
	w.said, w.err = nil, failed
	for range 2 {
		if _, remembered, err := w.Resolve(ana, w, ask("m")); remembered || !errors.Is(err, failed) {
			t.Errorf("an error: remembered %t, %v", remembered, err)
		}
	}
	w.said, w.err = &inferencev1.ResolveServingResponse{Digest: "sha256:1"}, nil
	for range 2 {
		if said, remembered, err := (*serving.Memory)(nil).Resolve(ana, w, ask("m")); said != w.said || remembered || err != nil {
			t.Errorf("no memory: %v, %t, %v", said, remembered, err)
		}
	}
}

// wire is a connection on which nothing is.
type wire struct{ grpc.ClientConnInterface }

func (wire) Invoke(context.Context, string, any, any, ...grpc.CallOption) error { return nil }

func (wire) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return ended{}, nil
}

type ended struct{ grpc.ClientStream }

func (ended) RecvMsg(any) error { return nil }

// TestWritesAreNoted: every method of the registry is a write unless it is known not to be.
func TestWritesAreNoted(t *testing.T) {
	t.Parallel()
	d := registryv1.RegistryService_ServiceDesc
	reads := map[string]bool{
		"GetModel": true, "ListModels": true, "GetVersion": true, "ListVersions": true, "GetVariant": true, "ListVariants": true, "GetAlias": true,
		"ListAliases": true, "ListAliasHistory": true, "GetAliasChange": true, "ListAliasChanges": true, "GetAliasProtection": true, "GetSplit": true,
		"GetExperiment": true, "ListExperiments": true, "GetExperimentResults": true, "GetResults": true, "ListSplitHistory": true, "GetPrompt": true,
		"GetPromptVersion": true, "ListPrompts": true, "ListPromptVersions": true, "ListPromptAliases": true, "ListPromptAliasHistory": true,
		"RenderPrompt": true, "GetRollout": true, "ListRollouts": true, "ListRolloutEvents": true, "ListFeedback": true, "ListChanges": true, "Watch": true,
		"ResolveVersion": true, "InspectSource": true, "ExportModels": true, "ExportArchive": true, "RecordFeedback": true, "ReportOutcomes": true,
		"GetWebhook": true, "ListWebhooks": true, "ListDeliveries": true,
	}
	call := func(name string, stream bool) bool {
		w := newWorld(t, model)
		ana := as("acme", "ana")
		w.wants(t, name, ana, ask("m"), true)
		conn := serving.Noting(wire{}, w.Memory)
		if !stream {
			_ = conn.Invoke(ana, name, nil, nil)
		} else if s, err := conn.NewStream(ana, new(grpc.StreamDesc), name); err != nil || s.RecvMsg(nil) != nil {
			t.Error(name, err)
		}
		_, remembered, _ := w.Resolve(ana, w, ask("m"))
		return !remembered
	}
	for _, m := range d.Methods {
		if got := call("/"+d.ServiceName+"/"+m.MethodName, false); got == reads[m.MethodName] {
			t.Errorf("%s is a write: %t", m.MethodName, got)
		}
	}
	for _, m := range d.Streams {
		if got := call("/"+d.ServiceName+"/"+m.StreamName, true); got == reads[m.StreamName] {
			t.Errorf("%s is a write: %t", m.StreamName, got)
		}
	}
	if call(registryv1.ArtifactService_DeleteArtifact_FullMethodName, false) {
		t.Error("artifacts decide what serves")
	}
	if conn := serving.Noting(wire{}, nil); conn != (wire{}) {
		t.Errorf("without a memory: %v", conn)
	}
}
