package inference_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/requestid"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

type workerStream = grpc.ServerStreamingServer[workerv1.InvokeStreamResponse]

func TestInvoke(t *testing.T) {
	m := newMesh(t, 2, meshOptions{}, fakes.Model("m", 2, fakes.Alias("production", 1), fakes.Alias("next", 2)))
	resp, err := m.client.Invoke(caller(t), chat("m", `{"x":1}`))
	if err != nil {
		t.Fatal(err)
	}
	by := resp.GetServedBy()
	if string(resp.GetBody()) != `{"x":1}` || by.GetModel() != "m" || by.GetVersion() != 1 || by.GetArm() != "" ||
		by.GetDigest() != fakes.VersionDigest("m", 1) || by.GetAttempts() != 1 || by.GetWorkerId() == "" {
		t.Errorf("the answer is %v", resp)
	}
	resp, err = m.client.Invoke(caller(t), chat("m@next", `{}`))
	if err != nil || resp.GetServedBy().GetVersion() != 2 {
		t.Errorf("an alias is answered with %v, %v", resp, err)
	}
}

func TestSplit(t *testing.T) {
	m := newMesh(t, 1, meshOptions{}, fakes.Model("m", 2, fakes.Split("control", 1, 500_000), fakes.Split("candidate", 2, 500_000)))
	m.awaitReady(t, "m", 1)
	arms := make(map[string]string)
	for i := range 40 {
		req := chat("m", `{}`)
		req.RoutingKey = fmt.Sprintf("user:%d", i%20)
		resp, err := m.client.Invoke(caller(t), req)
		if err != nil {
			t.Fatal(err)
		}
		by := resp.GetServedBy()
		if want := map[string]int32{"control": 1, "candidate": 2}[by.GetArm()]; by.GetVersion() != want {
			t.Fatalf("arm %q was served by version %d", by.GetArm(), by.GetVersion())
		}
		if before, ok := arms[req.GetRoutingKey()]; ok && before != by.GetArm() {
			t.Fatalf("%s met two arms", req.GetRoutingKey())
		}
		arms[req.GetRoutingKey()] = by.GetArm()
	}
	met := make(map[string]bool)
	for _, arm := range arms {
		met[arm] = true
	}
	if len(met) != 2 {
		t.Errorf("20 keys met %v", met)
	}
	// Without a key the request id decides.
	ctx := metadata.AppendToOutgoingContext(caller(t), requestid.MetadataKey, "fixed-id")
	first, err := m.client.Invoke(ctx, chat("m", `{}`))
	if err != nil {
		t.Fatal(err)
	}
	second, err := m.client.Invoke(ctx, chat("m", `{}`))
	if err != nil || first.GetServedBy().GetArm() != second.GetServedBy().GetArm() {
		t.Errorf("one request id met %q and %q: %v", first.GetServedBy().GetArm(), second.GetServedBy().GetArm(), err)
	}
}

func TestStream(t *testing.T) {
	m := newMesh(t, 1, meshOptions{worker: func(_ int, w *fakes.Worker) {
		w.OnStream = func(_ *workerv1.InvokeRequest, s workerStream) error { return fakes.Answer(s, "1", "2", "3") }
	}}, fakes.Model("m", 1))
	stream, err := m.client.InvokeStream(caller(t), chat("m", `{}`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch ev := msg.GetEvent().(type) {
		case *inferencev1.InvokeStreamResponse_ServedBy:
			got = append(got, "by "+ev.ServedBy.GetWorkerId())
		case *inferencev1.InvokeStreamResponse_Chunk:
			got = append(got, string(ev.Chunk))
		case *inferencev1.InvokeStreamResponse_Finish:
			got = append(got, fmt.Sprintf("finish %d", ev.Finish.GetUsage().GetCompletionTokens()))
		}
	}
	if !slices.Equal(got, []string{"by a", "1", "2", "3", "finish 3"}) {
		t.Errorf("the stream is %q", got)
	}
}

func TestEmbed(t *testing.T) {
	m := newMesh(t, 1, meshOptions{}, fakes.Model("e", 1, fakes.Embedding()), fakes.Model("m", 1))
	text := func(s string) *workerv1.EmbedInput {
		return &workerv1.EmbedInput{Input: &workerv1.EmbedInput_Text{Text: s}}
	}
	req := &inferencev1.EmbedRequest{Model: "e", Inputs: []*workerv1.EmbedInput{text("a"), text("b")}, InputType: "query"}
	resp, err := m.client.Embed(caller(t), req)
	if err != nil || len(resp.GetEmbeddings()) != 2 || resp.GetServedBy().GetModel() != "e" {
		t.Errorf("the answer is %v, %v", resp, err)
	}
	req.Model = "m"
	_, err = m.client.Embed(caller(t), req)
	wantReason(t, err, apierr.InvalidArgument, "model")
	_, err = m.client.Invoke(caller(t), chat("e", `{}`))
	wantReason(t, err, apierr.InvalidArgument, "model")
}

func TestCountTokens(t *testing.T) {
	m := newMesh(t, 1, meshOptions{}, fakes.Model("e", 1, fakes.Embedding()), fakes.Model("m", 1))
	ask := func(model string, op workerv1.Operation) (*inferencev1.CountTokensResponse, error) {
		return m.client.CountTokens(caller(t), &inferencev1.CountTokensRequest{Model: model, Operation: op, Body: []byte(`{"prompt":"x"}`)})
	}
	resp, err := ask("m", workerv1.Operation_OPERATION_CHAT)
	if err != nil || resp.GetPromptTokens() != 14 || resp.GetContextLength() != 2048 || resp.GetServedBy().GetModel() != "m" || resp.GetServedBy().GetAttempts() != 1 {
		t.Errorf("got %v, %v", resp, err)
	}
	// Texts to embed are counted as prompts; a model that embeds has no chat.
	if resp, err := ask("e", workerv1.Operation_OPERATION_COMPLETION); err != nil || resp.GetPromptTokens() != 14 {
		t.Errorf("a text to embed: %v, %v", resp, err)
	}
	_, err = ask("e", workerv1.Operation_OPERATION_CHAT)
	wantReason(t, err, apierr.InvalidArgument, "model")
	_, err = ask("nobody", workerv1.Operation_OPERATION_CHAT)
	wantReason(t, err, apierr.ModelNotFound, "model")
	_, err = ask("m", workerv1.Operation_OPERATION_UNSPECIFIED)
	wantReason(t, err, apierr.InvalidArgument, "operation")
}

func wantReason(t *testing.T, err error, reason apierr.Reason, field string) {
	t.Helper()
	e := apierr.From(err)
	if e == nil || e.Reason != reason || e.Field != field {
		t.Errorf("got %v; want %s of field %q", err, reason, field)
		return
	}
	if e.RequestID() == "" {
		t.Errorf("%v carries no request id", err)
	}
}

func TestRefusals(t *testing.T) {
	m := newMesh(t, 1, meshOptions{}, fakes.Model("m", 1), fakes.Model("many", 2))
	for _, c := range []struct {
		req    *inferencev1.InvokeRequest
		reason apierr.Reason
		field  string
	}{
		{chat("none", `{}`), apierr.ModelNotFound, "model"},
		{chat("m@v7", `{}`), apierr.ModelNotFound, "model"},
		{chat("No Name", `{}`), apierr.InvalidArgument, "model"},
		{chat("many", `{}`), apierr.FailedPrecondition, "model"},
		{chat("many@v1", `{}`), apierr.FailedPrecondition, "model"},
		{chat("m", ``), apierr.InvalidArgument, "body"},
		{&inferencev1.InvokeRequest{Model: "m", Body: []byte(`{}`)}, apierr.InvalidArgument, "operation"},
	} {
		_, err := m.client.Invoke(caller(t), c.req)
		wantReason(t, err, c.reason, c.field)
		stream, err := m.client.InvokeStream(caller(t), c.req)
		if err == nil {
			_, err = stream.Recv()
		}
		wantReason(t, err, c.reason, c.field)
	}
}

func TestACallerIsRequired(t *testing.T) {
	m := newMesh(t, 1, meshOptions{}, fakes.Model("m", 1))
	_, err := m.client.Invoke(t.Context(), chat("m", `{}`))
	wantReason(t, err, apierr.Unauthenticated, "")
	resp, err := grpc_health_v1.NewHealthClient(m.conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{
		Service: "poterne.inference.v1.InferenceService",
	})
	if err != nil || resp.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("health asks for a caller: %v, %v", resp, err)
	}

	open := newMesh(t, 1, meshOptions{config: func(c *inference.Config) { c.Identity.Required = false }}, fakes.Model("m", 1))
	if _, err := open.client.Invoke(t.Context(), chat("m", `{}`)); err != nil {
		t.Errorf("a caller is asked for though none is required: %v", err)
	}
}

func TestTheOrderOfTheInterceptors(t *testing.T) {
	s, err := inference.New(t.Context(), *inference.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		grpcserver.NameRecover, grpcserver.NameRequestID, grpcserver.NameTelemetry, grpcserver.NameErrors,
		identity.Name, grpcserver.NameValidate,
	}
	if got := s.Interceptors().Names(); !slices.Equal(got, want) {
		t.Errorf("the chain is %v; want %v", got, want)
	}
	for _, c := range s.Components() {
		if c.Stop != nil {
			if err := c.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestServedModels(t *testing.T) {
	m := newMesh(t, 2, meshOptions{worker: func(i int, w *fakes.Worker) {
		if i == 1 {
			w.Engines = nil
		}
	}},
		fakes.Model("a", 2, fakes.Alias("production", 2)), fakes.Model("b", 2),
		fakes.Model("c", 1, fakes.Embedding()), fakes.Model("d", 0), fakes.Model("s", 2, fakes.Split("x", 2, 1_000_000)))
	m.awaitReady(t, "a", 1)
	m.awaitReady(t, "c", 1)
	m.awaitReady(t, "s", 1)
	var got []string
	token := ""
	for {
		resp, err := m.client.ListServedModels(caller(t), &inferencev1.ListServedModelsRequest{PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range resp.GetModels() {
			got = append(got, fmt.Sprintf("%s v%d %s %d %s", s.GetName(), s.GetDefaultVersion(),
				strings.TrimPrefix(s.GetState().String(), "SERVING_STATE_"), s.GetReadyWorkers(), strings.TrimPrefix(s.GetTask().String(), "TASK_")))
		}
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	want := []string{
		"a v2 READY 1 CHAT", "b v0 UNAVAILABLE 0 CHAT", "c v1 READY 1 EMBEDDING", "d v0 UNAVAILABLE 0 UNSPECIFIED",
		"s v0 READY 1 CHAT",
	}
	if !slices.Equal(got, want) {
		t.Errorf("models\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	_, err := m.client.ListServedModels(caller(t), &inferencev1.ListServedModelsRequest{PageToken: "%%%"})
	wantReason(t, err, apierr.InvalidArgument, "page_token")

	resp, err := m.client.GetServedModel(caller(t), &inferencev1.GetServedModelRequest{Model: "a"})
	if err != nil || resp.GetModel().GetContextLength() != 2048 || resp.GetModel().GetDigest() != fakes.VersionDigest("a", 2) ||
		resp.GetModel().GetAliases()["production"] != 2 {
		t.Errorf("model a is %v, %v; want what the engine says of the context", resp, err)
	}
	resp, err = m.client.GetServedModel(caller(t), &inferencev1.GetServedModelRequest{Model: "a@v1"})
	if err != nil || resp.GetModel().GetDefaultVersion() != 1 || resp.GetModel().GetContextLength() != 4096 ||
		resp.GetModel().GetState() != inferencev1.ServingState_SERVING_STATE_UNAVAILABLE {
		t.Errorf("model a@v1 is %v, %v", resp, err)
	}
	_, err = m.client.GetServedModel(caller(t), &inferencev1.GetServedModelRequest{Model: "zzz"})
	wantReason(t, err, apierr.ModelNotFound, "model")
}

func TestListWorkers(t *testing.T) {
	m := newMesh(t, 3, meshOptions{}, fakes.Model("m", 1))
	m.awaitReady(t, "m", 2)
	m.workers[2].Kill()
	var got []string
	token := ""
	for {
		resp, err := m.client.ListWorkers(operator(t), &inferencev1.ListWorkersRequest{PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range resp.GetWorkers() {
			got = append(got, w.GetState().GetWorkerId())
			if w.GetAddress() == "" || w.GetUpdateTime() == nil {
				t.Errorf("worker %v", w)
			}
		}
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	if !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("workers %v", got)
	}
}

// TestTheRegistryMayBeAway: the last state goes on, also over a restart.
func TestTheRegistryMayBeAway(t *testing.T) {
	file := filepath.Join(t.TempDir(), "snapshot")
	o := meshOptions{config: func(c *inference.Config) { c.Registry.SnapshotFile = file }}
	first := newMesh(t, 1, o, fakes.Model("m", 1))
	if _, err := first.client.Invoke(caller(t), chat("m", `{}`)); err != nil {
		t.Fatal(err)
	}
	first.registry.Cut(true)
	if _, err := first.client.Invoke(caller(t), chat("m", `{}`)); err != nil {
		t.Errorf("with the registry away: %v", err)
	}
	first.stop()

	cfg := inference.DefaultConfig()
	cfg.GRPC.Addr, cfg.Telemetry.OpsAddr = "127.0.0.1:0", ""
	cfg.Registry.SnapshotFile = file
	first.addr = ""
	first.run(t, cfg)
	if _, err := first.client.Invoke(caller(t), chat("m", `{}`)); err != nil {
		t.Errorf("started with the registry away: %v", err)
	}
}

func TestTheEndLetsRequestsFinish(t *testing.T) {
	began, finish := make(chan struct{}), make(chan struct{})
	m := newMesh(t, 1, meshOptions{worker: func(_ int, w *fakes.Worker) {
		w.OnInvoke = func(context.Context, *workerv1.InvokeRequest) (*workerv1.InvokeResponse, error) {
			close(began)
			<-finish
			return &workerv1.InvokeResponse{Body: []byte(`{}`), Usage: &commonv1.TokenUsage{PromptTokens: 3}}, nil
		}
	}}, fakes.Model("m", 1))
	answer := make(chan error, 1)
	go func() {
		resp, err := m.client.Invoke(caller(t), chat("m", `{}`))
		if err == nil && resp.GetUsage().GetPromptTokens() != 3 {
			err = errors.New("the usage is lost")
		}
		answer <- err
	}()
	<-began
	gone := m.discovery.Watch(t.Context(), inference.ServiceName)
	ended := make(chan struct{})
	go func() { defer close(ended); m.stop() }()
	for set := range gone {
		if len(set) == 0 {
			break // deregistered first
		}
	}
	close(finish)
	if err := <-answer; err != nil {
		t.Errorf("a request in hand failed at the end: %v", err)
	}
	<-ended
	_, err := m.client.Invoke(caller(t), chat("m", `{}`))
	if status.Code(err) != codes.Unavailable {
		t.Errorf("after the end: %v", err)
	}
}
