package edge_test

import (
	"encoding/json"
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/telemetry"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
)

// logLines is a log, line by line.
type logLines chan map[string]any

func (l logLines) Write(p []byte) (int, error) {
	var line map[string]any
	if err := json.Unmarshal(p, &line); err != nil {
		return 0, err
	}
	if line["msg"] == "rpc" || line["msg"] == "request" || line["msg"] == "panic" {
		l <- line
	}
	return len(p), nil
}

// about returns the levels of what was said of a request, the last of which is the line of
// its path.
func (l logLines) about(id string) []string {
	var levels []string
	for {
		line := <-l
		if line["request_id"] != id {
			continue
		}
		level, _ := line["level"].(string)
		if levels = append(levels, level); line["msg"] == "request" {
			return levels
		}
	}
}

// The edge warns once of what failed in it, and not of what another service has warned of;
// a look at what is not there is no failure.
func TestOneFailureIsOneWarningOfTheEdge(t *testing.T) {
	logs := make(logLines, 100)
	cfg := telemetry.DefaultConfig("")
	cfg.LogLevel = "debug"
	tel, err := telemetry.New(t.Context(), "edge", "v0", cfg, telemetry.WithLogWriter(logs))
	if err != nil {
		t.Fatal(err)
	}
	g := open(t, nil, edge.WithTelemetry(tel))
	const chat = `{"model":"small","messages":[{"role":"user","content":"Hi"}]}`
	for name, c := range map[string]struct {
		method, path string
		fails        error // of the inference service
		want         [2]string
	}{
		"an engine":                 {"POST", chatPath, apierr.New(apierr.EngineFailed, "it broke").GRPCStatus().Err(), [2]string{"DEBUG", "INFO"}},
		"a service that is busy":    {"POST", chatPath, apierr.New(apierr.Overloaded, "it is busy").GRPCStatus().Err(), [2]string{"DEBUG", "WARN"}},
		"a service without a word":  {"POST", chatPath, status.Error(codes.Unavailable, "connection refused"), [2]string{"INFO", "WARN"}},
		"a service that goes wrong": {"POST", chatPath, errors.New("no reason"), [2]string{"WARN", "INFO"}},
		"a budget that is not":      {"GET", "/v1/admin/budgets/none", nil, [2]string{"DEBUG", "DEBUG"}},
		"a budget to remove":        {"DELETE", "/v1/admin/budgets/none", nil, [2]string{"DEBUG", "INFO"}},
	} {
		g.inference.unary = func(*inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) { return nil, c.fails }
		a := g.do(c.method, c.path, map[bool]string{true: chat}[c.method == "POST"])
		if a.status < 400 {
			t.Fatalf("%s: %d %s", name, a.status, a.text)
		}
		got := logs.about(a.header.Get("X-Request-Id"))
		if len(got) != 2 || [2]string(got) != c.want {
			t.Errorf("%s: the call and the request are told of at %v, want %v", name, got, c.want)
		}
	}
}
