package edge_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/inproc"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/edge"
)

const quantizePath = "/v1/admin/quantizations"

func (f *fakeInference) QuantizeModel(req *inferencev1.QuantizeModelRequest, out grpc.ServerStreamingServer[inferencev1.QuantizeModelResponse]) error {
	f.note(out.Context(), nil)
	return f.quantize(req, out)
}

func (f *fakeRegistry) ListVariants(context.Context, *registryv1.ListVariantsRequest) (*registryv1.ListVariantsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &registryv1.ListVariantsResponse{Variants: slices.Collect(maps.Values(f.variants))}, nil
}

func (f *fakeRegistry) CreateVariant(ctx context.Context, req *registryv1.CreateVariantRequest) (*registryv1.CreateVariantResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.caller, _ = identity.FromContext(ctx)
	if f.refuse != nil {
		return nil, f.refuse
	}
	v := &registryv1.Variant{
		Model: req.GetModel(), Version: 3, Name: req.GetVariant(), Digest: "sha256:of-it", Spec: req.GetSpec(),
		SizeBytes: 1000, Quality: req.GetQuality(), Description: req.GetDescription(),
	}
	if req.GetVersion() != "v3" {
		return nil, apierr.New(apierr.NotFound, "there is no version %q", req.GetVersion())
	}
	if f.variants == nil {
		f.variants = make(map[string]*registryv1.Variant)
	}
	f.variants[v.GetName()] = v
	return &registryv1.CreateVariantResponse{Variant: v}, nil
}

func sendStarted(source string, out grpc.ServerStreamingServer[inferencev1.QuantizeModelResponse]) error {
	return out.Send(&inferencev1.QuantizeModelResponse{Event: &inferencev1.QuantizeModelResponse_Started{
		Started: &inferencev1.QuantizeStarted{
			Model: "small", Version: 3, SourceDigest: "sha256:source", WorkerId: "w1", Source: cmp.Or(source, "base"),
		},
	}})
}

func sendProgress(out grpc.ServerStreamingServer[inferencev1.QuantizeModelResponse], percent int32) error {
	return out.Send(&inferencev1.QuantizeModelResponse{Event: &inferencev1.QuantizeModelResponse_Progress{
		Progress: &workerv1.QuantizeProgress{Phase: workerv1.QuantizePhase_QUANTIZE_PHASE_QUANTIZING, Percent: percent},
	}})
}

// sendMade ends with a result, measured when there was a text.
func sendMade(req *inferencev1.QuantizeModelRequest, out grpc.ServerStreamingServer[inferencev1.QuantizeModelResponse]) error {
	made := &workerv1.QuantizeResult{
		Spec: &commonv1.ModelSpec{
			Task: commonv1.Task_TASK_CHAT, Engine: "llama-server",
			Artifacts: []*commonv1.Artifact{{Uri: "file:///made/q4_k_m.gguf", SizeBytes: 1000, Role: "weights"}},
		},
		SizeBytes: 1000, SourceSizeBytes: 4000, Window: 512, Quantizer: "llama-quantize b123",
	}
	if len(req.GetText()) > 0 {
		made.Perplexity = &workerv1.Perplexity{Value: 12.5, Error: 0.25, Tokens: 2048}
		made.SourcePerplexity = &workerv1.Perplexity{Value: 12, Error: 0.5, Tokens: 2048}
		made.TextSha256 = strings.Repeat("ab", 32)
	}
	return out.Send(&inferencev1.QuantizeModelResponse{Event: &inferencev1.QuantizeModelResponse_Result{Result: made}})
}

func quantizes(req *inferencev1.QuantizeModelRequest, out grpc.ServerStreamingServer[inferencev1.QuantizeModelResponse]) error {
	return errors.Join(sendStarted(req.GetSource(), out), sendProgress(out, 40), sendMade(req, out))
}

// toldOf are the data of a stream's events, in order; one of another type than
// the usual comes as its type and data.
func toldOf(t *testing.T, text string) []string {
	t.Helper()
	var out []string
	for event := range strings.SplitSeq(strings.TrimSuffix(text, "\n\n"), "\n\n") {
		if strings.HasPrefix(event, ": ") {
			continue
		}
		if data, ok := strings.CutPrefix(event, "data: "); ok {
			out = append(out, data)
		} else {
			out = append(out, strings.ReplaceAll(event, "\n", " "))
		}
	}
	return out
}

func TestQuantizeOverREST(t *testing.T) {
	g := open(t, nil)
	g.registry.variants = map[string]*registryv1.Variant{"f16": {Name: "f16", Quality: &registryv1.Quality{Loss: 0.01}}}
	var asked *inferencev1.QuantizeModelRequest
	g.inference.quantize = func(req *inferencev1.QuantizeModelRequest, out grpc.ServerStreamingServer[inferencev1.QuantizeModelResponse]) error {
		asked = req
		return quantizes(req, out)
	}
	a := g.do("POST", quantizePath, `{"model":"small@stable","source":"f16","type":"q4_k_m","text":"some text","window":128,`+
		`"allow_requantize":true,"worker_id":"w1","threads":2,"variant":"small-q4"}`)
	if a.status != 200 || a.header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
		t.Fatalf("%d %v: %s", a.status, a.header, a.text)
	}
	if asked.GetModel() != "small@stable" || asked.GetSource() != "f16" || asked.GetType() != "q4_k_m" || string(asked.GetText()) != "some text" ||
		asked.GetWindow() != 128 || !asked.GetAllowRequantize() || asked.GetWorkerId() != "w1" || asked.GetThreads() != 2 {
		t.Errorf("the inference service was asked %v", asked)
	}
	got := toldOf(t, a.text)
	if len(got) != 4 || got[3] != "[DONE]" {
		t.Fatalf("got %q", got)
	}
	var all [3]map[string]any
	for i := range all {
		if err := json.Unmarshal([]byte(got[i]), &all[i]); err != nil {
			t.Fatal(err)
		}
	}
	if at(all[0], "started", "worker_id") != "w1" || at(all[1], "progress", "percent") != 40.0 ||
		at(all[1], "progress", "phase") != "QUANTIZE_PHASE_QUANTIZING" {
		t.Errorf("got %q", got)
	}
	v := all[2]["variant"]
	if at(v, "name") != "small-q4" || at(v, "quality", "perplexity") != 12.5 || at(v, "quality", "perplexity_error") != 0.25 ||
		at(v, "quality", "source_perplexity") != 12.0 || at(v, "quality", "source_perplexity_error") != 0.5 ||
		at(v, "quality", "source") != "f16" || at(v, "quality", "tokens") != 2048.0 || at(v, "quality", "window") != 512.0 ||
		at(v, "quality", "text_sha256") != strings.Repeat("ab", 32) || at(v, "description") != "q4_k_m of f16, made by llama-quantize b123" {
		t.Errorf("the variant is %v", v)
	}
	for who, c := range map[string]identity.Caller{"the inference service": g.inference.caller, "the registry": g.registry.caller} {
		if c.Subject == "" || c.Tenant == "" {
			t.Errorf("%s was not told on whose behalf: %+v", who, c)
		}
	}
	records := g.do("GET", "/v1/admin/audit?page_size=1", "")
	if r := records.at("records", 0); at(r, "method") != edgev1.AdminService_QuantizeModel_FullMethodName ||
		at(r, "resource") != "registry-variant/small@v3/small-q4" || at(r, "decision") != "allowed" {
		t.Errorf("the record is %v", r)
	}
}

// TestQuantizeWithoutText holds that what was not measured has no figures, since
// a loss of 0 would be one, and that the name is the type's.
func TestQuantizeWithoutText(t *testing.T) {
	g := open(t, nil)
	g.inference.quantize = quantizes
	a := g.do("POST", quantizePath, `{"model":"small","type":"q4_k_m","source":"base"}`)
	v := g.registry.variants["q4_k_m"]
	if a.status != 200 || v == nil || v.GetQuality() != nil || v.GetDescription() != "q4_k_m of base, made by llama-quantize b123" {
		t.Fatalf("%d %s: registered %v", a.status, a.text, v)
	}
	// Again, now with a text: it is the same as far as can be seen.
	a = g.do("POST", quantizePath, `{"model":"small","type":"q4_k_m","text":"x"}`)
	if q := g.registry.variants["q4_k_m"].GetQuality(); a.status != 200 || q.GetPerplexity() != 12.5 || q.GetSource() != "" {
		t.Errorf("%d %s: quality %v", a.status, a.text, q)
	}
}

func TestQuantizeFailures(t *testing.T) {
	g := open(t, nil)
	g.registry.variants = map[string]*registryv1.Variant{
		"mine": {Name: "mine"}, "q8_0": {Name: "q8_0", Quality: &registryv1.Quality{Source: "f16"}},
	}
	refused := func(err error) func(*inferencev1.QuantizeModelRequest, grpc.ServerStreamingServer[inferencev1.QuantizeModelResponse]) error {
		return func(*inferencev1.QuantizeModelRequest, grpc.ServerStreamingServer[inferencev1.QuantizeModelResponse]) error {
			return err
		}
	}
	for name, tt := range map[string]struct {
		body     string
		quantize func(*inferencev1.QuantizeModelRequest, grpc.ServerStreamingServer[inferencev1.QuantizeModelResponse]) error
		refuse   error
		status   int // of the answer; 200 for an error event
		code     string
		says     []string
		silent   string // what it does not say
	}{
		"the version's own weights": {body: `{"model":"small","type":"q4_0","variant":"base"}`, status: 400, code: "INVALID_ARGUMENT"},
		"a type that is no name":    {body: `{"model":"small","type":"Q4 0"}`, status: 400, code: "INVALID_ARGUMENT"},
		"an unknown member":         {body: `{"model":"small","type":"q4_0","oops":1}`, status: 400, code: "INVALID_ARGUMENT"},
		"a name that is taken": {
			body: `{"model":"small","type":"q4_0","variant":"mine"}`, quantize: quantizes, status: 409, code: "ALREADY_EXISTS",
			says: []string{`small@v3 has a variant "mine" already`},
		},
		"a type that was made from another": {
			body: `{"model":"small","type":"q8_0"}`, quantize: quantizes, status: 409, code: "ALREADY_EXISTS",
		},
		"a source that was not measured": {
			body: `{"model":"small","type":"q4_0","source":"mine","text":"x"}`, quantize: quantizes, status: 400, code: "FAILED_PRECONDITION",
			says: []string{`"mine" was not measured`},
		},
		"no worker": {
			body:     `{"model":"small","type":"q4_0"}`,
			quantize: refused(apierr.New(apierr.FailedPrecondition, "no worker has a quantiser").WithField("model")), status: 400, code: "FAILED_PRECONDITION",
		},
		"a worker that is lost": {
			body: `{"model":"small","type":"q4_0"}`,
			quantize: func(_ *inferencev1.QuantizeModelRequest, out grpc.ServerStreamingServer[inferencev1.QuantizeModelResponse]) error {
				return errors.Join(sendStarted("", out), apierr.New(apierr.Unavailable, "worker w1 was lost"))
			}, status: 200, code: "UNAVAILABLE", says: []string{"worker w1 was lost"},
		},
		"a registry that refuses": {
			body: `{"model":"small","type":"q4_0"}`, quantize: quantizes, refuse: apierr.New(apierr.FailedPrecondition, "the model has 32 variants"),
			status: 200, code: "FAILED_PRECONDITION",
			says: []string{"file:///made/q4_k_m.gguf", "worker w1", "the model has 32 variants", "the same call again is quick, also under another name"},
		},
		"content that the version has": {
			body: `{"model":"small","type":"q4_0","variant":"twin"}`, quantize: quantizes,
			refuse: apierr.New(apierr.AlreadyExists, `it has this content already, as "q4_0"`).WithField("spec"),
			status: 200, code: "ALREADY_EXISTS", says: []string{`as "q4_0"`, "worker w1"}, silent: "another name",
		},
		"an answer without a result": {
			body: `{"model":"small","type":"q4_0"}`, status: 200, code: "INTERNAL",
			quantize: func(_ *inferencev1.QuantizeModelRequest, out grpc.ServerStreamingServer[inferencev1.QuantizeModelResponse]) error {
				return sendStarted("", out)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g.inference.quantize, g.registry.refuse = tt.quantize, tt.refuse
			a := g.do("POST", quantizePath, tt.body)
			if a.status != tt.status {
				t.Fatalf("%d: %s", a.status, a.text)
			}
			problem := a.text
			if tt.status == http.StatusOK {
				got := toldOf(t, a.text)
				var ok bool
				if problem, ok = strings.CutPrefix(got[len(got)-1], "event: error data: "); !ok {
					t.Fatalf("the last event is %q", got[len(got)-1])
				}
			} else if a.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("the error is of type %q", a.header.Get("Content-Type"))
			}
			var p map[string]any
			if err := json.Unmarshal([]byte(problem), &p); err != nil {
				t.Fatal(err)
			}
			if p["code"] != tt.code || p["request_id"] != a.header.Get("X-Request-Id") || p["type"] == nil || p["title"] == nil {
				t.Errorf("the problem is %v", p)
			}
			if tt.silent != "" && strings.Contains(problem, tt.silent) {
				t.Errorf("%q says %q", p["detail"], tt.silent)
			}
			for _, says := range tt.says {
				if !strings.Contains(p["detail"].(string), says) { //nolint:errcheck // a problem has one
					t.Errorf("%q does not say %q", p["detail"], says)
				}
			}
		})
	}
}

// TestQuantizeTakesALongText holds the bound on bodies, which is another here.
func TestQuantizeTakesALongText(t *testing.T) {
	g := open(t, nil) // with 64 KiB elsewhere
	var got int
	g.inference.quantize = func(req *inferencev1.QuantizeModelRequest, out grpc.ServerStreamingServer[inferencev1.QuantizeModelResponse]) error {
		got = len(req.GetText())
		return quantizes(req, out)
	}
	body := func(n int) string { return `{"model":"small","type":"q4_0","text":"` + strings.Repeat(`\n`, n) + `"}` }
	if a := g.do("POST", quantizePath, body(8<<20)); a.status != 200 || got != 8<<20 {
		t.Errorf("%d, %d bytes of text arrived", a.status, got)
	}
	if a := g.do("POST", quantizePath, body(8<<20+1)); a.status != 400 || a.at("code") != "INVALID_ARGUMENT" {
		t.Errorf("one byte more: %d %s", a.status, a.text)
	}
	// As Python writes it, Cyrillic is six bytes for two.
	cyrillic := `{"model":"small","type":"q4_0","text":"` + strings.Repeat(`\u0434`, 4<<20) + `"}`
	if a := g.do("POST", quantizePath, cyrillic); a.status != 200 || got != 8<<20 {
		t.Errorf("escaped: %d, %d bytes of text arrived", a.status, got)
	}
	if a := g.do("POST", quantizePath, body(13<<20)); a.status != 413 {
		t.Errorf("a body that no text of 8 MiB needs: %d", a.status)
	}
	if a := g.do("POST", chatPath, body(1<<20)); a.status != 413 {
		t.Errorf("the same elsewhere: %d", a.status)
	}
}

// TestQuantizeKeepsAliveAndEndsWithItsCaller also holds that no deadline of other
// writes cuts it.
func TestQuantizeKeepsAliveAndEndsWithItsCaller(t *testing.T) {
	g := open(t, func(c *edge.Config) {
		c.HTTP.KeepAlive = 5 * time.Millisecond
		c.Security.Limits.Deadlines.Write = time.Millisecond
	})
	ended := make(chan error, 1)
	g.inference.quantize = func(_ *inferencev1.QuantizeModelRequest, out grpc.ServerStreamingServer[inferencev1.QuantizeModelResponse]) error {
		if err := sendStarted("", out); err != nil {
			return err
		}
		<-out.Context().Done()
		ended <- out.Context().Err()
		return out.Context().Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+quantizePath, strings.NewReader(`{"model":"small","type":"q4_0"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for comments := 0; comments < 3; { // far beyond the deadline of a write
		if !lines.Scan() {
			t.Fatalf("the stream ended: %v", lines.Err())
		}
		if lines.Text() == ": keep-alive" {
			comments++
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the work ended with %v", err)
	}
}

// TestQuantizeOverGRPC holds that both ways give the same.
func TestQuantizeOverGRPC(t *testing.T) {
	g := open(t, nil)
	g.inference.quantize = quantizes
	conn := inproc.New(g.Interceptors(), g.RegisterGRPC)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+g.key)
	stream, err := edgev1.NewAdminServiceClient(conn).QuantizeModel(ctx, &edgev1.QuantizeModelRequest{Model: "small", Type: "q4_k_m"})
	if err != nil {
		t.Fatal(err)
	}
	var kinds bytes.Buffer
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch msg.GetEvent().(type) {
		case *edgev1.QuantizeModelResponse_Started:
			kinds.WriteString("s")
		case *edgev1.QuantizeModelResponse_Progress:
			kinds.WriteString("p")
		case *edgev1.QuantizeModelResponse_Variant:
			kinds.WriteString("v")
		}
	}
	if kinds.String() != "spv" {
		t.Errorf("the events are %s", kinds.String())
	}
}

// TestQuantizeOfAFullVersion holds that what cannot be registered is not made.
func TestQuantizeOfAFullVersion(t *testing.T) {
	g := open(t, nil)
	g.inference.quantize = quantizes
	g.registry.variants = make(map[string]*registryv1.Variant)
	for i := range 32 {
		name := fmt.Sprintf("v%d", i)
		g.registry.variants[name] = &registryv1.Variant{Name: name}
	}
	a := g.do("POST", quantizePath, `{"model":"small","type":"q4_0"}`)
	if a.status != 400 || !strings.Contains(a.text, "32 variants") {
		t.Errorf("%d: %s", a.status, a.text)
	}
}
