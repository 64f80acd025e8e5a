//go:build real

package allinone

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/edge"
	"github.com/poterne/poterne/services/search"
)

// Passages fit a real model by the count of its own tokeniser: llama-server's, with
// a chat model in the place of an embedding one, whose vectors mean nothing. By the
// estimate alone many would be too long for it.
func TestRealPassagesFitTheTokeniser(t *testing.T) {
	const tokens, reserve = 512, 16
	brought, engines := llama(t, false)
	brought.name = "embeds"
	brought.spec.Task, brought.spec.ContextLength = commonv1.Task_TASK_EMBEDDING, tokens
	brought.spec.EmbeddingDimensions = 576
	brought.spec.Parameters = map[string]string{"pooling": "mean"}
	c := newCluster(t, 1, brought, engines)
	client := c.search(t)
	if _, err := client.CreateCollection(c.caller(), &searchv1.CreateCollectionRequest{Id: "c", EmbeddingModel: brought.name}); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var keys strings.Builder
	for i := range 40 {
		fmt.Fprintf(&keys, "%016x%016x%s", rng.Uint64(), rng.Uint64(), []string{" ", ". ", "\n\n"}[i%3])
	}
	documents := map[string]string{
		"keys":   keys.String(),
		"french": strings.Repeat("L'œuvre dont il s'agissait n'était déjà plus à vendre, hélas ! ", 25),
		"signs":  strings.Repeat("α→β ∀x∃y ½·¾ 🙂🙃 漢字かな交じり文 ", 20),
		"plain":  strings.Repeat("the plan of it all is to be read by whoever comes. ", 50),
	}
	for id, text := range documents {
		resp, err := client.BatchUpsertDocuments(c.caller(), &searchv1.BatchUpsertDocumentsRequest{
			Collection: "c", Documents: []*searchv1.Document{{Id: id, Title: "Title", Text: text}},
		})
		if err != nil || resp.GetSucceeded() != 1 {
			t.Fatalf("%s: %v, %v", id, resp, err)
		}
	}
	found, err := client.Search(c.caller(), &searchv1.SearchRequest{Collection: "c", Query: "plan", Mode: "vector", TopK: 1000})
	if err != nil {
		t.Fatal(err)
	}
	covered, most := make(map[string]int), make(map[string]int)
	for _, h := range found.GetHits() {
		id := h.GetDocumentId()
		covered[id] += len(strings.Join(strings.Fields(h.GetText()), ""))
		body, err := json.Marshal(map[string]string{"prompt": "Title\n" + h.GetText()})
		if err != nil {
			t.Fatal(err)
		}
		counted, err := c.client.CountTokens(c.caller(), &inferencev1.CountTokensRequest{
			Model: brought.name, Operation: workerv1.Operation_OPERATION_COMPLETION, Body: body,
		})
		if err != nil {
			t.Fatal(err)
		}
		most[id] = max(most[id], int(counted.GetPromptTokens()))
	}
	t.Logf("the longest passages have %v tokens", most)
	for id, text := range documents {
		if whole := len(strings.Join(strings.Fields(text), "")); covered[id] < whole {
			t.Errorf("%s: passages have %d bytes of %d", id, covered[id], whole)
		}
		if most[id] == 0 || most[id] > tokens-reserve {
			t.Errorf("%s: a passage has %d tokens, at most %d fit", id, most[id], tokens-reserve)
		}
	}
}

// search is a search service on the cluster's inference.
func (c *cluster) search(t *testing.T) searchv1.SearchServiceClient {
	t.Helper()
	cfg := search.DefaultConfig()
	cfg.Store.DSN = config.SecretURL("sqlite://" + filepath.Join(t.TempDir(), "truth.db"))
	cfg.Index.Dir = filepath.Join(t.TempDir(), "index")
	if err := cfg.Complete(); err != nil {
		t.Fatal(err)
	}
	s, err := search.New(t.Context(), *cfg, search.WithTelemetry(telemetry.Discard()), search.WithInferenceConn(c.inference))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- lifecycle.Run(ctx, lifecycle.Options{}, s.Components()...) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	slow := edge.DefaultConfig().Inference
	slow.Timeout = 5 * time.Minute // the model embeds on a machine that other work may keep busy
	return searchv1.NewSearchServiceClient(grpcclient.Intercept(search.ServiceName, inproc.New(s.Interceptors(), s.RegisterGRPC), slow,
		telemetry.Discard(), grpcclient.WithInterceptors(identity.UnaryClient(identity.Plain()), identity.StreamClient(identity.Plain()))))
}
